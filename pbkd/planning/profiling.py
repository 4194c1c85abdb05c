"""Seconds per segment, measured on the device that will do the work."""

from __future__ import annotations

import copy
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

import torch

from pbkd.core.blocks import BlockCost
from pbkd.errors import PluginError, out_of_memory
from pbkd.models.metrics import synchronise
from pbkd.training.distill import train_block
from pbkd.training.failures import described
from pbkd.training.learner import trainee
from pbkd.training.replicas import replica_traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from pbkd.protocols import Loss


__all__ = ["measure_costs"]

_REPEATS = 5
_FEWER = 8  # a small batch is an eighth of a whole one: what it takes beyond that is overhead


class _Training(NamedTuple):
    """A training step's seconds, its input's bytes, the seconds of reading input and output."""

    seconds: float
    input_bytes: int
    read_seconds: float


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
    Raises `PluginError` for a replacement that cannot be trained with this loss.
    """
    teacher, training = _timed(chain, replacements, images, loss, offset, dtype)
    few = images[: len(images) // _FEWER]
    overhead = dict.fromkeys(training, 0.0)
    if len(few) > 1:  # BatchNorm needs two
        teacher_few, training_few = _timed(chain, replacements, few, loss, offset, dtype)
        for name in training:
            whole = teacher[name] + training[name].seconds
            part = teacher_few[name] + training_few[name].seconds
            share = len(few) / len(images)
            overhead[name] = min(whole, max(0.0, part - share * whole) / (1 - share))
    costs, prefix = [], 0.0
    for name, _ in chain.named_children():
        if name in training:
            own = training[name]
            costs.append(
                BlockCost(
                    name, prefix, teacher[name], own.seconds, own.input_bytes,
                    *replica_traffic(replacements[name]), overhead[name], own.read_seconds,
                    len(images),
                )
            )  # fmt: skip
        prefix += teacher[name]
    return costs


def _timed(
    chain: nn.Sequential,
    replacements: Mapping[str, nn.Module],
    images: Tensor,
    loss: Loss,
    offset: int,
    dtype: torch.dtype,
) -> tuple[dict[str, float], dict[str, _Training]]:
    """Return the seconds of every segment's forward pass, and what every replacement takes."""
    teacher: dict[str, float] = {}
    training: dict[str, _Training] = {}
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
                    training[name] = _training(name, replacements[name], (x, y), loss, dtype)
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


def _training(
    name: str,
    replacement: nn.Module,
    lesson: tuple[Tensor, Tensor],
    loss: Loss,
    dtype: torch.dtype,
) -> _Training:
    x, y = lesson
    try:
        seconds = _seconds(_training_step(replacement, x, y, loss, dtype), x.device)
        return _Training(seconds, x.nbytes, _seconds(_reading(x, y), x.device))
    except Exception as error:
        if out_of_memory(error):
            raise
        raise PluginError(
            f"the builder's replacement of block '{name}' cannot be trained with the loss"
            f" '{loss.name}': {described(error)}."
        ) from error


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
