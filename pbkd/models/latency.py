"""Latency of networks, timed in turn on one device."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from pbkd.core.results import Latency
from pbkd.errors import ConfigError
from pbkd.models.evaluation_mode import evaluation_mode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    Network = nn.Module | Callable[[Tensor], object]

__all__ = ["expected_seconds", "latencies", "synchronise"]

_WARM_UP = 3
_WARM_UP_SECONDS = 0.1
_FEWEST_LONG, _FEWEST, _MOST = 3, 5, 30
_LEAST_SECONDS, _MOST_SECONDS = 0.1, 1.0
_PRECISION = 0.05


def latencies(
    models: Mapping[str, Network], images: Tensor, repeats: int | None = None
) -> dict[str, Latency]:
    """Time a forward pass through each of several networks.

    The networks take turns, so that other load on the machine affects all of them alike. Each pass
    is timed until the device is done, after up to three untimed passes.

    Without `repeats`, the passes are repeated until 0.1 s have passed and the 95 % interval of
    every network's median is within 5 % of it, at least 5 and at most 30 times. After 1 s, 3 times
    are enough.

    Args:
        models: Networks by name, all on the device of `images`, or functions of a batch that
            return when they are done.
        images: One batch, (B, C, H, W).
        repeats: Timed passes per network; None for as many as the precision needs.

    Returns:
        Median and 95th percentile by name, in seconds per batch.

    Raises:
        ConfigError: If `repeats` is less than 1.
    """
    if repeats is not None and repeats < 1:
        raise ConfigError(f"latency is to be timed {repeats} times, but at least once is needed.")
    _warm_up(models, images)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    while not _is_enough(list(seconds.values()), repeats):
        for name, model in models.items():
            seconds[name].append(_seconds(model, images))
    return {name: _latency(passes, len(images)) for name, passes in seconds.items()}


def expected_seconds(round_seconds: float) -> float:
    """Predict what `latencies` takes if passes through a network differ little.

    Args:
        round_seconds: Seconds of a pass through every network.

    Returns:
        Seconds, warm-up included.
    """
    warm_up = min(_WARM_UP, math.floor(_WARM_UP_SECONDS / round_seconds) + 1)
    repeats = min(_MOST, max(_FEWEST, math.ceil(_LEAST_SECONDS / round_seconds)))
    longest = max(_FEWEST_LONG, math.ceil(_MOST_SECONDS / round_seconds))
    return (warm_up + min(repeats, longest)) * round_seconds


def _warm_up(models: Mapping[str, Network], images: Tensor) -> None:
    """Pass each network one to three times: the first pass of a network is slow."""
    spent = 0.0
    for _ in range(_WARM_UP):
        spent += sum(_seconds(model, images) for model in models.values())
        if spent > _WARM_UP_SECONDS:
            return


def _is_enough(passes: Sequence[Sequence[float]], repeats: int | None) -> bool:
    done, spent = len(passes[0]), sum(map(sum, passes))
    if repeats is not None or done >= _MOST:
        return done >= (repeats or _MOST)
    if spent >= _MOST_SECONDS:
        return done >= _FEWEST_LONG
    return done >= _FEWEST and spent >= _LEAST_SECONDS and all(map(_is_precise, passes))


def _is_precise(passes: Sequence[float]) -> bool:
    """Return whether the 95 % interval of the median is within 5 % of it.

    The interval is between order statistics: the number of passes below the median is binomial
    (Conover 1999, Practical Nonparametric Statistics, section 3.2).
    """
    ordered, count = sorted(passes), len(passes)
    margin = 1.96 * math.sqrt(count) / 2
    low = ordered[max(0, math.floor(count / 2 - margin))]
    high = ordered[min(count - 1, math.ceil(count / 2 + margin))]
    median = float(np.median(ordered))
    return max(high - median, median - low) <= _PRECISION * median


def _seconds(model: Network, images: Tensor) -> float:
    with evaluation_mode(model) if isinstance(model, nn.Module) else torch.no_grad():
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
