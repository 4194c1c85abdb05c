"""What a network does when it is called: checked on images, and reduced to logits."""

from __future__ import annotations

import pickle
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy
import torch
from torch import Tensor, nn

from pbkd.errors import TeacherError, is_out_of_memory
from pbkd.models.outputs import LogitsHook, find_logits, tensors_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


__all__ = ["settle"]

_DRAWS = 32  # passes that are compared if a network draws random numbers
_REMOVED = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class CopyImages:
    """A forward pre-hook that gives a network a copy of its images, which it changes in place."""

    def __call__(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Copy the images."""
        return (inputs[0].clone(), *inputs[1:])


@torch.no_grad()
def settle(
    network: nn.Module, images: Tensor, classes: int | None, choice: Mapping[str, Any]
) -> list[str]:
    """Let a network map images to logits and do nothing else.

    Hooks are removed if the outputs do not depend on them. A network that cannot take the images
    is left as it is, for `check_classes` to report.

    Args:
        network: The network, in evaluation mode; it may get hooks of pbkd's.
        images: A batch of several images, (B, C, H, W), on its device.
        classes: The number of classes; None if it is unknown.
        choice: The configuration's `teacher`; `output` and `probabilities` say what the logits are,
            see `find_logits`.

    Returns:
        Notes, a sentence each.

    Raises:
        TeacherError: If the outputs are random, depend on a hook or are not float32, the network
            switches autocast on or changes its own weights or buffers, or it is not clear which
            outputs are the logits.
    """
    with _kept_generators():
        try:
            output = _first_output(network, images)
        except TeacherError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return []
        _check_repeatable(network, images, output)
        notes = _remove_hooks(network, images, output)
    if any(isinstance(hook, LogitsHook) for hook in network._forward_hooks.values()):
        return notes
    chosen, probabilities = choice.get("output"), choice.get("probabilities")
    hook, more = find_logits(output, classes, chosen, probabilities)
    _check_precision(hook(network, (), output) if hook else output)
    if hook:
        network.register_forward_hook(hook)
    return [*notes, *more]


def _first_output(network: nn.Module, images: Tensor) -> Any:
    """Call a network; refuse one that changes its buffers, copy images that it changes."""
    given, buffers = images.clone(), [buffer.clone() for buffer in network.buffers()]
    with _refused_autocast():
        output = network(given)
    now = [buffer.nan_to_num() for buffer in network.buffers()]
    if not all(map(torch.equal, now, (buffer.nan_to_num() for buffer in buffers))):
        raise TeacherError(
            "the teacher changes its own buffers when it is called in evaluation mode: make that"
            " depend on self.training."
        )
    if not torch.equal(given, images):
        network.register_forward_pre_hook(CopyImages())
    return output


@contextmanager
def _kept_generators() -> Iterator[None]:
    """Give the program's generators of random numbers their states back."""
    ours, numpys = random.getstate(), numpy.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(ours)
        numpy.random.set_state(numpys)


@contextmanager
def _refused_autocast() -> Iterator[None]:
    """Refuse a network that switches autocast on: tracing would not see it."""
    enter: Any = torch.autocast.__enter__

    def refuse(self: torch.autocast) -> Any:
        if self._enabled:
            raise TeacherError(
                "the teacher's forward switches torch.autocast on: remove that (autocast=bf16 lets"
                " pbkd train in it)."
            )
        return enter(self)

    with patch.object(torch.autocast, "__enter__", refuse):
        yield


def _check_repeatable(network: nn.Module, images: Tensor, first: Any) -> None:
    """Refuse a network whose outputs differ between calls; random ones are called several times."""
    draws = _draws(images.device)
    others = [network(images)]
    if _draws(images.device) != draws:
        others += [network(images) for _ in range(_DRAWS)]
    if not all(_equal(first, other) for other in others):
        raise TeacherError(
            "the teacher's outputs differ between two calls with the same images, although it is in"
            " evaluation mode: switch its randomness off, as by F.dropout(x, p, self.training)."
        )


def _draws(device: torch.device) -> tuple[Any, ...]:
    """The states of the generators of random numbers."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return (
        *(state.numpy().tobytes() for state in states),
        random.getstate(),
        pickle.dumps(numpy.random.get_state()),
    )


def _remove_hooks(network: nn.Module, images: Tensor, expected: Any) -> list[str]:
    """Remove the user's hooks; refuse those that change the outputs."""
    hooks = [
        (path, hooks, key)
        for path, module in network.named_modules()
        for hooks in (getattr(module, name) for name in _REMOVED)
        for key, hook in hooks.items()
        if not isinstance(hook, (LogitsHook, CopyImages))
    ]
    for _, hooks_of_module, key in hooks:
        del hooks_of_module[key]
    if hooks and not _equal(network(images), expected):
        names = ", ".join(dict.fromkeys(f"'{path}'" for path, _, _ in hooks))
        raise TeacherError(
            f"hooks of the teacher's modules ({names}) change its outputs: do what they do in"
            " forward, and remove them."
        )
    if not hooks:
        return []
    return ["Hooks of the teacher's modules are left out: its outputs do not depend on them."]


def _check_precision(logits: Any) -> None:
    if isinstance(logits, Tensor) and logits.dtype != torch.float32:
        dtype = str(logits.dtype).removeprefix("torch.")
        raise TeacherError(
            f"the teacher's outputs are {dtype} although its weights are float32: remove autocast"
            " and conversions from its forward."
        )


def _equal(first: Any, other: Any) -> bool:
    """Whether all tensors of two outputs are equal, but for rounding."""
    pairs = zip(tensors_in(first).values(), tensors_in(other).values(), strict=True)
    return all(
        a.shape == b.shape and torch.allclose(_wide(a), _wide(b), 1e-4, 1e-6, equal_nan=True)
        for a, b in pairs
    )


def _wide(x: Tensor) -> Tensor:
    return x.cpu().double()  # on the CPU: not every accelerator has float64
