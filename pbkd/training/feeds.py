"""Feeds: where a job's activations come from.

They come from the teacher's prefix (`recompute`), from the worker before this one (`relay`), or
from the activation cache (`from_cache`). A feed yields the *lessons* of each batch: a generator of
(block, input, target) that takes back the replacement's output, on which a later lesson's input
may depend.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    import numpy as np
    from torch import nn

    from pbkd.core.blocks import Block
    from pbkd.training.activation_cache import ActivationCache


__all__ = ["Lesson", "Lessons", "Pair", "from_cache", "recompute", "relay", "teach"]

Lesson = tuple[str, Tensor, Tensor]
Pair = tuple[Tensor, Tensor]
Lessons = Generator[Lesson, Tensor, Pair]


def teach(
    span: nn.Sequential, blocks: Collection[str], pair: Pair, *, student_fed: bool
) -> Lessons:
    """Run the teacher through a span once; each block's lesson is given as soon as it exists.

    `pair` is the teacher's and the student's input to the span. Teacher-fed, a block's input is
    the teacher's; `student_fed`, it is the output of the replacements before it. Returns the pair
    at the end of the span.
    """
    x, x_student = pair
    for name, segment in span.named_children():
        with torch.no_grad():
            y = segment(x)
        if name in blocks:
            y_student = yield name, x_student, y
            if student_fed:
                y_student = _finite(y_student, y)
        elif x_student is x:
            y_student = y
        else:
            with torch.no_grad():
                y_student = segment(x_student)
        x, x_student = y, y_student if student_fed else y
    return x, x_student


def _finite(output: Tensor, target: Tensor) -> Tensor:
    """Return a replacement's output; where it has diverged the teacher's, for those after it.

    Decided on the device, which nobody has to wait for.
    """
    sound = output.sum(dtype=torch.float32).isfinite()
    return torch.where(sound, output, target.to(output.dtype))


def recompute(
    chain: nn.Sequential,
    blocks: Collection[str],
    batches: Iterable[Tensor],
    *,
    student_fed: bool = False,
) -> Iterator[Lessons]:
    """Feed a job by running the teacher from the images to the job's last block."""
    names = [name for name, _ in chain.named_children()]
    span = chain[: max(map(names.index, blocks)) + 1]
    for images in batches:
        yield teach(span, blocks, (images, images), student_fed=student_fed)


def relay(
    span: nn.Sequential,
    blocks: Collection[str],
    arriving: Iterable[Pair],
    send: Callable[[Pair], None],
    *,
    student_fed: bool = False,
) -> Iterator[Lessons]:
    """Feed a span from what arrives, and send on what leaves it."""
    for pair in arriving:
        yield _passed_on(teach(span, blocks, pair, student_fed=student_fed), send)


def _passed_on(lessons: Lessons, send: Callable[[Pair], None]) -> Lessons:
    pair = yield from lessons
    send(pair)
    return pair


def from_cache(
    cache: ActivationCache,
    blocks: Sequence[Block],
    batches: Iterable[Tensor],
    device: torch.device,
) -> Iterator[Lessons]:
    """Feed a job from the activation cache.

    Args:
        cache: A complete cache.
        blocks: The job's blocks, in the order of the chain.
        batches: The rows of each batch, int64 (B,).
        device: Where the job is trained.

    Yields:
        The lessons of each batch.
    """
    for rows in batches:
        yield _cached_lessons(cache, blocks, rows.numpy(), device)


def _cached_lessons(
    cache: ActivationCache,
    blocks: Sequence[Block],
    rows: np.ndarray[tuple[int], np.dtype[np.int64]],
    device: torch.device,
) -> Lessons:
    at: dict[int, Tensor] = {}
    for block in blocks:
        for position in (block.position, block.position + 1):
            if position not in at:
                at = {p: t for p, t in at.items() if p >= block.position}
                at[position] = cache.read(position, rows).to(device, non_blocking=True)
        yield block.name, at[block.position], at[block.position + 1]
    return at[block.position], at[block.position + 1]
