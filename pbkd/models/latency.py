"""Latency of networks, timed in turn on one device."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from pbkd.core.results import Latency
from pbkd.errors import ConfigError
from pbkd.models.evaluation_mode import evaluation_mode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


__all__ = ["latencies", "synchronise"]

_WARM_UP = 3


def latencies(
    models: Mapping[str, nn.Module], images: Tensor, repeats: int = 30
) -> dict[str, Latency]:
    """Time a forward pass through each of several networks.

    The networks take turns, so that other load on the machine affects all of them alike. Each pass
    is timed until the device is done, after a few untimed passes.

    Args:
        models: Networks by name, all on the device of `images`.
        images: One batch, (B, C, H, W).
        repeats: Timed passes per network.

    Returns:
        Median and 95th percentile by name, in seconds per batch.

    Raises:
        ConfigError: If `repeats` is less than 1.
    """
    if repeats < 1:
        raise ConfigError(f"latency is to be timed {repeats} times, but at least once is needed.")
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for repeat in range(-_WARM_UP, repeats):
        for name, model in models.items():
            with evaluation_mode(model):
                passed = _seconds(model, images)
            if repeat >= 0:
                seconds[name].append(passed)
    return {name: _latency(passes, len(images)) for name, passes in seconds.items()}


def _seconds(model: nn.Module, images: Tensor) -> float:
    synchronise(images.device)
    start = time.perf_counter()
    model(images)
    synchronise(images.device)
    return time.perf_counter() - start


def synchronise(device: torch.device) -> None:
    """Wait until an accelerator has finished its queue; do nothing on a CPU."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _latency(passes: list[float], batch: int) -> Latency:
    median, p95 = np.quantile(passes, [0.5, 0.95]).tolist()
    return Latency(median, p95, batch, len(passes))
