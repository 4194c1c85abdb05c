"""Feeds: where a job's activations come from.

They come from the teacher's prefix (`recompute`), from the worker before this one (`relay`), or
from the activation cache (`from_cache`). A feed yields the *lessons* of each batch: a generator of
what each block learns, which takes back the replacement's output, on which a later lesson's input
may depend.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    import numpy as np
    from torch import nn

    from pbkd.core.blocks import Block
    from pbkd.training.activation_cache import ActivationCache


__all__ = ["Lesson", "Lessons", "Pair", "from_cache", "recompute", "relay", "teach"]


class Lesson(NamedTuple):
    """What a block learns from one batch.

    Attributes:
        block: The block's name.
        x: The replacement's input, (B, C, …).
        target: The output of the teacher's segment, (B, C, …).
        teacher_x: The input of the teacher's segment; the replacement's too, if it is teacher-fed.
    """

    block: str
    x: Tensor
    target: Tensor
    teacher_x: Tensor


Pair = tuple[Tensor, Tensor]
Lessons = Generator[Lesson, Tensor, Pair]


def teach(
    span: nn.Sequential, blocks: Collection[str], pair: Pair, *, student_fed: bool
) -> Lessons:
    """Run the teacher through a span once, and yield the lesson of each block.

    Args:
        span: Consecutive segments of the chain.
        blocks: The names of the blocks to train.
        pair: The teacher's and the student's input to the span, (B, C, …).
        student_fed: Whether a block's input is the output of the replacements before it, not the
            teacher's.

    Yields:
        The lesson of each block.

    Returns:
        The teacher's and the student's output of the span.
    """
    x, x_student = pair
    for name, segment in span.named_children():
        with torch.no_grad():
            y = segment(x)
        if name in blocks:
            y_student = yield Lesson(name, x_student, y, x)
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
    """Return the output, or the target if the output is not finite; decided on the device."""
    sound = output.sum(dtype=torch.float32).isfinite()
    return torch.where(sound, output, target.to(output.dtype))


def recompute(
    chain: nn.Sequential,
    blocks: Collection[str],
    batches: Iterable[Tensor],
    *,
    student_fed: bool = False,
) -> Iterator[Lessons]:
    """Feed a job by running the teacher from the images to the job's last block.

    Args:
        chain: The teacher's chain.
        blocks: The names of the job's blocks.
        batches: Normalised images, (B, C, H, W).
        student_fed: Whether a block's input is the output of the replacements before it.

    Yields:
        The lessons of each batch.
    """
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
    """Feed a span from the worker before it, and pass its output to the worker after it.

    Args:
        span: Consecutive segments of the chain.
        blocks: The names of the blocks to train.
        arriving: The teacher's and the student's input to the span, batch by batch.
        send: Gets the teacher's and the student's output of the span.
        student_fed: Whether a block's input is the output of the replacements before it.

    Yields:
        The lessons of each batch.
    """
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
        x, target = at[block.position], at[block.position + 1]
        yield Lesson(block.name, x, target, x)
    return at[block.position], at[block.position + 1]
