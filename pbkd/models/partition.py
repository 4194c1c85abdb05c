"""Partitioning of the teacher into a chain, by a partitioner plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbkd.config.options import choice_options
from pbkd.errors import (
    PLUGIN_FAILURES,
    ChainError,
    PbkdError,
    PluginError,
    is_out_of_memory,
)
from pbkd.models.chain import check_chain
from pbkd.models.weights import fingerprint
from pbkd.plugin.attribution import describe_failure, describe_strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Partitioner


__all__ = ["cut", "pick_and_cut", "pick_partitioner"]

_LONG = 2  # segments of a stage


def pick_partitioner(
    registry: Registry, choice: Mapping[str, Any], network: nn.Module
) -> Partitioner:
    """Create the partitioner that is configured.

    Args:
        registry: Where partitioners are registered.
        choice: The configuration's `partitioner`; `auto` for the first that accepts the network,
            those with `fallback = True` last.
        network: The teacher's network.

    Returns:
        The partitioner.

    Raises:
        ChainError: If no partitioner accepts the network.
        UnknownNameError: If the name is not registered.
        PluginError: If a partitioner raises.
    """
    if choice["name"] != "auto":
        configured: Partitioner = registry.create("partitioner", choice)
        return configured
    options = choice_options(choice)
    strategies = registry.strategies["partitioner"].items()
    for name, strategy in sorted(strategies, key=lambda item: getattr(item[1], "fallback", False)):
        if _accepts(strategy, network):
            accepting: Partitioner = registry.create("partitioner", {"name": name, **options})
            return accepting
    known = ", ".join(registry.strategies["partitioner"])
    raise ChainError(
        f"no partitioner knows the network {type(network).__name__} (asked: {known}): write one"
        " as a plugin and choose it with partitioner=NAME."
    )


def pick_and_cut(
    registry: Registry,
    choice: Mapping[str, Any],
    network: nn.Module,
    images: Tensor,
    *,
    by_stages: bool = False,
) -> tuple[dict[str, Any], nn.Sequential]:
    """Cut a network with the partitioner that is configured.

    With `auto`, a network that its partitioner cuts wrongly, such as a ResNet with a forward of its
    own, is cut by the partitioner for all networks.

    Args:
        registry: Where partitioners are registered.
        choice: The configuration's `partitioner`.
        network: The teacher's network.
        images: A batch to check the chain on, (B, C, H, W).
        by_stages: Whether `auto` without options may cut a network of long stages into these.

    Returns:
        The partitioner's name and options, and the chain.

    Raises:
        ChainError: If no partitioner accepts the network, or the chain computes something else.
        UnknownNameError: If the name is not registered.
        PluginError: If a partitioner raises or changes the network.
    """
    partitioner = pick_partitioner(registry, choice, network)
    picked = {**choice, "name": partitioner.name}
    try:
        chain = cut(partitioner, network, images)
    except ChainError:
        general = [
            name
            for name, strategy in registry.strategies["partitioner"].items()
            if getattr(strategy, "fallback", False) and name != partitioner.name
        ]
        if choice["name"] != "auto" or getattr(partitioner, "fallback", False) or not general:
            raise
        picked["name"] = general[0]
        return picked, cut(registry.create("partitioner", picked), network, images)
    options = getattr(partitioner, "stages", None)
    if by_stages and options and choice == {"name": "auto"}:
        in_stages = {**picked, **options}
        stages = _cut_or_none(registry.create("partitioner", in_stages), network, images)
        if stages is not None and len(chain) > _LONG * len(stages):
            return in_stages, stages
    return picked, chain


def _cut_or_none(
    partitioner: Partitioner, network: nn.Module, images: Tensor
) -> nn.Sequential | None:
    try:
        return cut(partitioner, network, images)
    except ChainError:
        return None


def cut(partitioner: Partitioner, network: nn.Module, images: Tensor) -> nn.Sequential:
    """Cut a network into a chain and check it.

    Args:
        partitioner: Makes the chain.
        network: The teacher's network.
        images: A batch to check the chain on, (B, C, H, W).

    Returns:
        The chain.

    Raises:
        ChainError: If the partitioner raises, or its chain computes something else.
        PluginError: If the partitioner changes the network.
        TeacherError: If the network cannot process the images.
    """
    before = _state(network)
    try:
        chain = partitioner.partition(network)
    except PbkdError:
        raise
    except PLUGIN_FAILURES as error:
        if is_out_of_memory(error):
            raise
        where = f"partition on {type(network).__name__}"
        raise ChainError(
            f"{describe_failure('partitioner', partitioner, where, error)}."
        ) from error
    try:
        check_chain(network, chain, images)
    except ChainError as error:
        raise ChainError(
            f"{describe_strategy('partitioner', partitioner)} cuts wrongly: {error}"
        ) from error
    if _state(network) != before:
        raise PluginError(
            f"{describe_strategy('partitioner', partitioner)} changes the teacher in partition:"
            " choose another one with partitioner=NAME."
        )
    return chain


def _state(network: nn.Module) -> tuple[str, list[bool]]:
    """Everything in a network that a partitioner must not change: weights and modes."""
    return fingerprint(network), [module.training for module in network.modules()]


def _accepts(strategy: type[Partitioner], network: nn.Module) -> bool:
    try:
        return strategy().accepts(network)
    except PLUGIN_FAILURES as error:
        where = f"accepts on {type(network).__name__}"
        raise PluginError(
            f"{describe_failure('partitioner', strategy, where, error)}: choose one with"
            " partitioner=NAME."
        ) from error
