"""A teacher whose layers are all pruned by the same share, with torch-pruning."""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pbkd.errors import ConfigError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor


__all__ = ["Pruned", "check_installed", "prune"]

_ROUNDS = 12  # of bisection: a share of channels to 1/4096
_PROBE = 0.5
_NEAR = 1.1
_HINT = "leave out --against pruning"


@dataclass(frozen=True)
class Pruned:
    """A pruned network.

    Attributes:
        network: The network, channels-last, in evaluation mode and with gradients.
        share: The share of its channels that each pruned layer lost.
        kept: The layers at the root of groups that cannot be pruned.
    """

    network: nn.Module
    share: float
    kept: tuple[str, ...]


def check_installed() -> None:
    """Check that torch-pruning is installed.

    Raises:
        ConfigError: It is not.
    """
    if find_spec("torch_pruning") is None:  # imported when it is used: it takes seconds
        raise ConfigError(
            f"torch-pruning is not installed: pip install 'pbkd[pruning]', or {_HINT}."
        )


def prune(
    network: nn.Module, images: Tensor, cost: Callable[[nn.Module], float], target: float
) -> Pruned:
    """Prune all layers of a network alike, until it costs as much as a target.

    Channels are removed by the L2 norm of the weights of their group (Fang et al. 2023, DepGraph,
    arXiv 2301.12900), in each layer the same share, which bisection finds. Groups whose pruning
    breaks the network keep their channels, as the logits do, and the residual streams of CIFAR
    ResNets with shortcuts that pad channels (Li et al. 2017, arXiv 1608.08710, does the same).

    Args:
        network: The network, which is copied.
        images: A batch of two of its inputs, (2, C, H, W).
        cost: Returns what a network costs.
        target: The cost to come near to.

    Returns:
        The network whose cost is nearest to the target, at most 1.1 times as much.

    Raises:
        ConfigError: If torch-pruning fails on the network, or cannot make it that cheap.
    """
    kept, groups = _prunable(network, images)
    found = [(0.0, _copy(network), cost(network))]
    lower, upper = 0.0, 1.0
    for _ in range(_ROUNDS if found[0][2] > target else 0):
        share = (lower + upper) / 2
        pruned = _pruned(network, images, share, kept)
        if pruned is None or pruned[1] < groups:  # a layer would have lost all its channels
            upper = share
            continue
        found.append((share, pruned[0], cost(pruned[0])))
        lower, upper = (share, upper) if found[-1][2] > target else (lower, share)
    share, nearest, nearest_cost = min(found, key=lambda one: abs(math.log(one[2] / target)))
    if nearest_cost > _NEAR * target:
        raise ConfigError(
            f"torch-pruning makes the teacher only {found[0][2] / nearest_cost:.2f} times cheaper,"
            f" and the student is {found[0][2] / target:.2f} times: {_HINT}."
        )
    return Pruned(nearest.to(memory_format=torch.channels_last).eval(), share, kept)


def _prunable(network: nn.Module, images: Tensor) -> tuple[tuple[str, ...], int]:
    """Return the layers at the root of groups that cannot be pruned, and the number of others."""
    kept: list[str] = []
    while True:
        trial = _copy(network)
        names = {module: name for name, module in trial.named_modules()}
        pruned = []
        for group in _groups(trial, images, _PROBE, kept):
            root = names[group[0].dep.target.module]
            group.prune()
            if not _computes(trial, images, network):
                break
            pruned.append(root)
        else:
            return tuple(kept), len(pruned)
        if root in kept:
            raise ConfigError(f"torch-pruning cannot prune the teacher at '{root}': {_HINT}.")
        kept.append(root)


def _pruned(
    network: nn.Module, images: Tensor, share: float, kept: Sequence[str]
) -> tuple[nn.Module, int] | None:
    """Return a copy of a network that lost a share of its channels, and the number of its groups.

    It is None if the copy computes no logits.
    """
    pruned, groups = _copy(network), 0
    for group in _groups(pruned, images, share, kept):
        group.prune()
        groups += 1
    return (pruned, groups) if _computes(pruned, images, network) else None


@torch.no_grad()
def _computes(pruned: nn.Module, images: Tensor, network: nn.Module) -> bool:
    """Whether a pruned network still maps images to outputs of the same shape."""
    try:
        found, wanted = pruned(images), network(images)
    except (RuntimeError, ValueError, IndexError):
        return False
    return bool(found.shape == wanted.shape)


def _groups(network: nn.Module, images: Tensor, share: float, kept: Sequence[str]) -> Iterator[Any]:
    """Yield what to prune: layers that must lose the same channels, and these channels."""
    import torch_pruning

    modules = dict(network.named_modules())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pruner = torch_pruning.pruner.BasePruner(
                network,
                images,
                importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
                pruning_ratio=share,
                ignored_layers=[modules[name] for name in kept],
                in_channel_groups={},  # its defaults are shared between pruners
                out_channel_groups={},
            )
            yield from pruner.step(interactive=True)
    except Exception as error:
        raise ConfigError(
            f"torch-pruning cannot prune the teacher ({one_line(error)}): {_HINT}."
        ) from error


def _copy(network: nn.Module) -> nn.Module:
    """Return a copy with gradients, by which torch-pruning traces it."""
    return copy.deepcopy(network).requires_grad_(True).eval()
