"""Measurement of training costs on the device that will train."""

from __future__ import annotations

import copy
import statistics
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch

from pbkd.core.blocks import BlockCost
from pbkd.errors import PluginError, is_out_of_memory
from pbkd.models.evaluation_mode import evaluation_mode
from pbkd.models.latency import synchronise
from pbkd.models.precision import autocast
from pbkd.training.applied_loss import needs_whole_batches
from pbkd.training.distill import train_block
from pbkd.training.failures import describe_error
from pbkd.training.feeds import Lesson
from pbkd.training.learner import new_learner
from pbkd.training.replicas import replica_traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from pbkd.training.learner import BlockMethod


__all__ = ["ChainCosts", "measure_costs", "overhead_share"]

_REPEATS, _LONG_REPEATS = 5, 3
_ENOUGH_SECONDS, _TOLERANCE = 0.01, 0.1
_FEWER = 8  # the small batch, an eighth of a batch, shows the overhead


_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ChainCosts:
    """Measured costs of one batch.

    Attributes:
        blocks: Costs per step of the blocks with a replacement, in the order of the chain.
        segments: Seconds of the teacher's forward pass through each segment.
        replacements: Seconds of each replacement's forward pass, by block.
    """

    blocks: list[BlockCost]
    segments: dict[str, float]
    replacements: dict[str, float]


class _StepCost(NamedTuple):
    """Seconds of a training step, of its forward pass alone, and of reading input and output."""

    seconds: float
    forward_seconds: float
    read_seconds: float
    input_bytes: int


_Timings = tuple[dict[str, float], dict[str, _StepCost]]
"""Seconds of every segment's forward pass, and the cost of every replacement's training step."""


def measure_costs(
    chain: nn.Sequential,
    replacements: Mapping[str, nn.Module],
    images: Tensor,
    method: BlockMethod,
    *,
    offset: int = 0,
) -> ChainCosts:
    """Measure the teacher's forward pass and a training step of every replaced block.

    Every figure is the median of five repeats after one warm-up; once they have taken 0.01 s, of
    three, or of fewer if two passes in a row agree within 10 %. The part that does not shrink with
    the batch comes from a smaller batch. The threads are the calling process's.

    Args:
        chain: The teacher, with BatchNorm fused into convolutions.
        replacements: The replacement of each block; they are copied and stay untrained.
        images: One batch, (N, C, H, W).
        method: How replacements are trained.
        offset: The segment to start with; the ones before it are measured last. Workers that
            measure at the same time from different offsets slow each other down as they do in
            training.

    Returns:
        Costs per step, and seconds of all forward passes.

    Raises:
        PluginError: If a replacement cannot be trained with its loss.
    """
    whole = teacher, training = _timed(chain, replacements, images, method, offset)
    overhead = dict.fromkeys(training, 0.0)
    few = images[: len(images) // _FEWER]
    if len(few) > 1:  # BatchNorm needs two
        part = _timed(chain, replacements, few, method, offset)
        overhead = _overhead(whole, part, len(few) / len(images))
    costs, prefix = [], 0.0
    for name, _ in chain.named_children():
        if name in training:
            step = training[name]
            costs.append(
                BlockCost(
                    name, prefix, teacher[name], step.seconds, step.input_bytes,
                    *replica_traffic(replacements[name]), overhead[name], step.read_seconds,
                    1 if needs_whole_batches(method.losses[name].loss) else len(images),
                )
            )  # fmt: skip
        prefix += teacher[name]
    return ChainCosts(costs, teacher, {n: step.forward_seconds for n, step in training.items()})


def overhead_share(step: Callable[[int], object], rows: int, device: torch.device) -> float:
    """Measure which share of a training step's seconds does not shrink with the batch.

    Args:
        step: Takes a step on some rows of a batch.
        rows: Rows of the batch.
        device: Where it computes.
    """
    if rows < 2 * _FEWER:
        return 0.0
    whole, _ = _seconds(partial(step, rows), device)
    few, _ = _seconds(partial(step, rows // _FEWER), device)
    part = (rows // _FEWER) / rows
    return min(1.0, max(0.0, few / whole - part) / (1 - part))


def _overhead(whole: _Timings, part: _Timings, share: float) -> dict[str, float]:
    """Return the seconds that do not shrink with the batch; `part` is of a `share` of the batch."""
    overhead = {}
    for name, step in whole[1].items():
        seconds = whole[0][name] + step.seconds
        few = part[0][name] + part[1][name].seconds
        overhead[name] = min(seconds, max(0.0, few - share * seconds) / (1 - share))
    return overhead


def _timed(
    chain: nn.Sequential,
    replacements: Mapping[str, nn.Module],
    images: Tensor,
    method: BlockMethod,
    offset: int,
) -> _Timings:
    """Measure every segment's forward pass and every replacement's training step."""
    teacher: dict[str, float] = {}
    training: dict[str, _StepCost] = {}
    for start, stop in ((offset, len(chain)), (0, offset)):
        x = images
        for position, (name, segment) in enumerate(chain.named_children()):
            if position >= stop:
                break
            forward = _forward(segment, x)
            if position >= start:
                teacher[name], y = _seconds(forward, images.device)
                if name in replacements:
                    lesson = Lesson(name, x, y, x)
                    training[name] = _step_cost(replacements[name], lesson, method)
            else:
                y = forward()
            x = y
    return teacher, training


def _forward(segment: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.no_grad():
            output: Tensor = segment(x)
        return output

    return run


def _reading(x: Tensor, y: Tensor) -> Callable[[], None]:
    """Return a function that gathers a shuffled batch of activations, as the cache feed does."""
    rows = torch.randperm(len(x), generator=torch.Generator())
    stored = [activation.movedim(1, -1).contiguous().cpu() for activation in (x, y)]

    def run() -> None:
        for activation in stored:
            activation[rows].to(x.device)

    return run


def _step_cost(replacement: nn.Module, lesson: Lesson, method: BlockMethod) -> _StepCost:
    name, x, y, _ = lesson
    try:
        seconds, _ = _seconds(_training_step(replacement, lesson, method), x.device)
        forward = _forward(autocast(replacement, method.dtype), x)
        with evaluation_mode(replacement):
            forward_seconds, _ = _seconds(forward, x.device)
        read_seconds, _ = _seconds(_reading(x, y), x.device)
        return _StepCost(seconds, forward_seconds, read_seconds, x.nbytes)
    except PluginError as error:
        raise PluginError(f"block '{name}' cannot be trained, since {error}") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise PluginError(
            f"the builder's replacement of block '{name}' cannot be trained with the loss"
            f" '{method.losses[name].loss.name}': {describe_error(error)}."
        ) from error


def _training_step(
    replacement: nn.Module, lesson: Lesson, method: BlockMethod
) -> Callable[[], None]:
    copied = copy.deepcopy(replacement)
    optimisation = replace(method.optimisation, lr=1e-3, weight_decay=0.0)
    block = new_learner(copied, optimisation, steps=_REPEATS + 1, dtype=method.dtype)

    def run() -> None:
        train_block(block, lesson, method.losses[lesson.block])

    return run


def _seconds(work: Callable[[], _Result], device: torch.device) -> tuple[float, _Result]:
    """Measure some work; return the median of its passes, and the last one's result."""
    passes: list[float] = []
    for _ in range(_REPEATS + 1):
        synchronise(device)
        start = time.perf_counter()
        result = work()
        synchronise(device)
        passes.append(time.perf_counter() - start)
        is_long = sum(passes[1:]) > _ENOUGH_SECONDS
        if is_long and (len(passes) > _LONG_REPEATS or _agree(*passes[-2:])):
            break
    return statistics.median(passes[1:]), result


def _agree(one: float, other: float) -> bool:
    return abs(one - other) <= _TOLERANCE * min(one, other)
