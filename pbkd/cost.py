"""Seconds per segment, measured on the device that will do the work."""

from __future__ import annotations

import copy
import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pbkd.distill import train_block, trainee
from pbkd.measure import synchronise
from pbkd.plan import BlockCost
from pbkd.team import team_traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pbkd.loss import Loss

__all__ = ["measure_costs"]

_REPEATS = 5
_FEWER = 8  # a small batch is an eighth of a whole one: what it takes beyond that is overhead


def measure_costs(
    chain: nn.Sequential,
    replacements: Mapping[str, nn.Module],
    images: Tensor,
    loss: Loss,
    *,
    offset: int = 0,
    dtype: torch.dtype = torch.float32,
) -> list[BlockCost]:
    """Time a teacher pass and a training step of every replaced block on one batch of `images`.

    `chain` is the folded teacher; the replacements are copied, not trained, and run in `dtype`.
    Each figure is the median of five repeats after one warm-up, on the calling process's threads.
    Measuring starts with the segment at `offset` and comes back to those before it: workers that
    measure at the same time, each from an offset of its own, disturb each other as they do at work.
    """
    teacher, training = _timed(chain, replacements, images, loss, offset, dtype)
    few = images[: len(images) // _FEWER]
    overhead = dict.fromkeys(training, 0.0)
    if len(few) > 1:  # BatchNorm needs two
        teacher_few, training_few = _timed(chain, replacements, few, loss, offset, dtype)
        for name in training:
            whole = teacher[name] + training[name][0]
            part = teacher_few[name] + training_few[name][0]
            share = len(few) / len(images)
            overhead[name] = min(whole, max(0.0, part - share * whole) / (1 - share))
    costs, prefix = [], 0.0
    for name, _ in chain.named_children():
        if name in training:
            seconds, traffic = training[name][0], team_traffic(replacements[name])
            cost = BlockCost(name, prefix, teacher[name], seconds, training[name][1], *traffic)
            read = training[name][2]
            costs.append(replace(cost, overhead_seconds=overhead[name], read_seconds=read))
        prefix += teacher[name]
    return costs


def _timed(
    chain: nn.Sequential,
    replacements: Mapping[str, nn.Module],
    images: Tensor,
    loss: Loss,
    offset: int,
    dtype: torch.dtype,
) -> tuple[dict[str, float], dict[str, tuple[float, int, float]]]:
    """Return the seconds of every segment's forward pass, and those of every replacement's step.

    Beside the latter stand the bytes of the block's input, and the seconds of reading a batch.
    """
    teacher: dict[str, float] = {}
    training: dict[str, tuple[float, int, float]] = {}
    for start, stop in ((offset, len(chain)), (0, offset)):
        x = images
        for position, (name, segment) in enumerate(chain.named_children()):
            if position >= stop:
                break
            with torch.no_grad():
                y = segment(x)
            if position >= start:
                teacher[name] = _seconds(_forward(segment, x), images.device)
                if name in replacements:
                    step = _training_step(replacements[name], x, y, loss, dtype)
                    read = _seconds(_reading(x, y), images.device)
                    training[name] = _seconds(step, images.device), x.nbytes, read
            x = y
    return teacher, training


def _forward(segment: nn.Module, x: Tensor) -> Callable[[], None]:
    def run() -> None:
        with torch.no_grad():
            segment(x)

    return run


def _reading(x: Tensor, y: Tensor) -> Callable[[], None]:
    """Return what gathers a shuffled batch of two activations, as a cache in memory does."""
    rows = torch.randperm(len(x))
    stored = [activation.movedim(1, -1).contiguous().cpu() for activation in (x, y)]

    def run() -> None:
        for activation in stored:
            activation[rows].to(x.device)

    return run


def _training_step(
    replacement: nn.Module, x: Tensor, y: Tensor, loss: Loss, dtype: torch.dtype
) -> Callable[[], None]:
    own = copy.deepcopy(replacement)
    block = trainee(own, lr=1e-3, weight_decay=0.0, steps=_REPEATS + 1, dtype=dtype)

    def run() -> None:
        train_block(block, x, y, loss)

    return run


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    work()
    samples = []
    for _ in range(_REPEATS):
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        samples.append(time.perf_counter() - start)
    return statistics.median(samples)
