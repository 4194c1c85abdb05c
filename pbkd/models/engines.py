"""Networks in the engine in which their latency counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pbkd.errors import PLUGIN_FAILURES, PbkdError, PluginError
from pbkd.models.evaluation_mode import evaluation_mode
from pbkd.models.latency import latencies
from pbkd.plugin.attribution import describe_failure, describe_strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from pbkd.core.results import Latency
    from pbkd.protocols import Engine


__all__ = ["in_engine", "latencies_in"]


def in_engine(engine: Engine, network: nn.Module, images: Tensor) -> Callable[[Tensor], Tensor]:
    """Prepare a network in an engine, with the CPU threads that torch has.

    Args:
        engine: The engine.
        network: The network.
        images: A batch, (B, C, H, W), on its device.

    Returns:
        What passes such a batch through the network.

    Raises:
        PbkdError: The engine is not installed, or cannot execute the network.
    """
    try:
        with evaluation_mode(network):
            run = engine.prepare(network, images, torch.get_num_threads())
    except PbkdError:
        raise
    except PLUGIN_FAILURES as error:
        failure = describe_failure("engine", engine, "prepare", error)
        raise PluginError(f"{failure}: choose another by target.engine.") from error
    if not callable(run):
        raise PluginError(
            f"{describe_strategy('engine', engine)} returns {type(run).__name__} from prepare:"
            " return a function of a batch."
        )
    return run


def latencies_in(
    engine: Engine, networks: Mapping[str, nn.Module], images: Tensor
) -> dict[str, Latency]:
    """Time a forward pass through each of several networks in an engine, as `latencies` does.

    Raises:
        PbkdError: As `in_engine`.
    """
    prepared = {name: in_engine(engine, network, images) for name, network in networks.items()}
    timed = latencies(prepared, images)
    return {name: replace(latency, engine=engine.name) for name, latency in timed.items()}
