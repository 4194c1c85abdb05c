"""Features: outputs of modules inside a network, which a loss may ask for by name."""

from __future__ import annotations

from contextlib import ExitStack
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from pbkd.errors import PluginError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["run_with_features"]


def run_with_features(
    network: nn.Module, forward: nn.Module, x: Tensor, names: Sequence[str], subject: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """Run a network once and copy the outputs of some of its modules.

    They are copies, since a later operation may change an output in place, such as the ReLU or the
    addition of a residual block.

    Args:
        network: The network.
        forward: What runs it: itself, or a wrapper for another precision.
        x: Its input, (B, C, …).
        names: Names of modules in it, such as "layer.0", or patterns of its children's names, such
            as "*" for all of them.
        subject: What the network is, for messages.

    Returns:
        The network's output, and the modules' outputs by name.

    Raises:
        PluginError: If a module does not exist, is not called once, or gives something else than
            one tensor with the rows of `x`.
    """
    outputs: dict[str, list[object]] = {name: [] for name in _expanded(network, names)}
    with ExitStack() as hooks:
        for name, calls in outputs.items():
            module = _find(network, name, subject)
            hooks.callback(module.register_forward_hook(partial(_record, calls)).remove)
        output: Tensor = forward(x)
    return output, {name: _only(calls, name, x, subject) for name, calls in outputs.items()}


def _expanded(network: nn.Module, names: Sequence[str]) -> list[str]:
    """Replace patterns by the names of the children that they match, in the network's order."""
    children = [child for child, _ in network.named_children()]
    expanded = []
    for name in names:
        matching = [child for child in children if fnmatchcase(child, name)]
        expanded += matching or [name]
    return expanded


def _find(network: nn.Module, name: str, subject: str) -> nn.Module:
    try:
        found = network.get_submodule(name)
    except AttributeError:
        found = network
    if found is network:
        known = [module for module, _ in network.named_modules() if module]
        raise PluginError(f"{subject} has no module '{name}'.{did_you_mean(name, known)}")
    return found


def _record(calls: list[object], _module: nn.Module, _arguments: Any, output: object) -> None:
    calls.append(output.clone() if isinstance(output, Tensor) else output)


def _only(calls: list[object], name: str, x: Tensor, subject: str) -> Tensor:
    """Return the output of a module's only call."""
    if len(calls) != 1:
        raise PluginError(
            f"{subject} calls its module '{name}' {len(calls)} times in a forward pass, so that its"
            " output is not defined: choose a module that is called once."
        )
    (output,) = calls
    if not isinstance(output, Tensor):
        raise PluginError(
            f"the module '{name}' of {subject} gives {type(output).__name__}, not one tensor:"
            " choose another."
        )
    if output.shape[:1] != x.shape[:1]:
        raise PluginError(
            f"the module '{name}' of {subject} gives the shape {tuple(output.shape)} for"
            f" {len(x)} rows: choose one whose output has a row for each."
        )
    return output
