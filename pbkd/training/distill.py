"""The training loop: the replacements of a job learn from its lessons."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

import torch

from pbkd.core.blocks import candidate_of
from pbkd.errors import PluginError
from pbkd.training.applied_loss import needs_whole_batches, safe_scale
from pbkd.training.failures import (
    OUT_OF_MEMORY,
    describe_divergence,
    describe_error,
    divergence_reason,
)
from pbkd.training.feeds import Lesson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch import Tensor

    from pbkd.protocols import Loss, LossContext
    from pbkd.training.applied_loss import AppliedLoss
    from pbkd.training.feeds import Lessons
    from pbkd.training.learner import Learner
    from pbkd.training.replicas import ReplicaGroup
    from pbkd.training.step_times import StepTimes


__all__ = ["train_block", "train_job"]


def train_job(
    learners: Mapping[str, Learner],
    epochs: Iterable[Iterable[Lessons]],
    losses: Mapping[str, AppliedLoss],
    *,
    replicas: ReplicaGroup | None = None,
    epoch_finished: Callable[[str, float], None] = lambda _name, _loss: None,
    times: StepTimes | None = None,
) -> None:
    """Train the replacements of one job.

    Each replacement learns its block's target from its lesson's input, with its own loss and
    optimiser; all candidates of a block share its lessons. If the loss of a replacement diverges
    (as its `watch` says, or after an epoch) or its code raises, its `failure` is set and the others
    go on.

    Args:
        learners: The replacements by candidate name.
        epochs: The lessons of every batch of every epoch, from the first epoch that any replacement
            has not finished; replacements that are further skip the epochs that they have finished.
        losses: The loss of each replacement, by candidate name.
        replicas: The workers that share this job's batches, if any.
        epoch_finished: Gets the name and mean loss of each replacement after every epoch.
        times: Times some steps of the first epoch; None to time none.

    Raises:
        PluginError: If a replacement raises in a replica group, where the others would wait for it.
    """
    first = min((len(block.losses) for block in learners.values()), default=0)
    for epoch, batches in enumerate(epochs, first):
        by_block = _begin_epoch(learners, epoch)
        totals: dict[str, Tensor] = {}
        steps = 0
        training = _Training(by_block, losses, replicas, times.train if times else _untimed)
        for lessons in times.epoch(batches) if times and epoch == first else batches:
            for name, value in _train_batch(training, lessons):
                totals[name] = totals[name] + value if name in totals else value
                _watch(learners[name], value, replicas)
            steps += 1
        for name, total in totals.items():
            block = learners[name]
            if block.failure is None:
                whole = replicas.sum(total) if replicas else total
                block.losses.append(float(whole) / steps)
                epoch_finished(name, block.losses[-1])
                if reason := divergence_reason(block.losses):
                    block.fail(reason)


def _begin_epoch(learners: Mapping[str, Learner], epoch: int) -> dict[str, dict[str, Learner]]:
    """Return those that learn in an epoch, by block and candidate."""
    by_block: dict[str, dict[str, Learner]] = {}
    for name, block in learners.items():
        if block.failure is None and len(block.losses) <= epoch:
            by_block.setdefault(candidate_of(name)[0], {})[name] = block
            block.begin_epoch(epoch)
    return by_block


def _watch(block: Learner, loss: Tensor, replicas: ReplicaGroup | None) -> None:
    if block.watch is not None and (how := block.watch.see(loss, replicas)):
        block.fail(describe_divergence(how))


class _Training(NamedTuple):
    """What is trained in an epoch: learners by block and candidate, with the loss of each."""

    by_block: Mapping[str, Mapping[str, Learner]]
    losses: Mapping[str, AppliedLoss]
    replicas: ReplicaGroup | None
    timed: Callable[[str], AbstractContextManager[None]]


def _untimed(_name: str) -> AbstractContextManager[None]:
    return nullcontext()


def _train_batch(training: _Training, lessons: Lessons) -> Iterator[tuple[str, Tensor]]:
    """Train on every lesson of one batch and send the outputs back; yield name and loss.

    For a block that has failed, the teacher's output is sent back. A block with several candidates
    is teacher-fed, so that its output is not used.
    """
    by_block, losses, replicas, timed = training
    output: Tensor | None = None
    while True:
        try:
            lesson = next(lessons) if output is None else lessons.send(output)
        except StopIteration:
            return
        output = lesson.target
        for candidate, block in by_block.get(lesson.block, {}).items():
            if block.failure is not None:
                continue
            try:
                with timed(candidate), block.drawing():
                    output, value = train_block(block, lesson, losses[candidate], replicas)
            except Exception as error:
                if replicas is not None:
                    raise PluginError(
                        f"block '{candidate}' fails: {describe_error(error)}."
                    ) from error
                block.fail(_describe_failure(error, losses[candidate].loss))
            else:
                yield candidate, value


def _describe_failure(error: Exception, loss: Loss) -> str:
    """Describe the error that stopped a block, and why no micro-batches can help."""
    reason = describe_error(error)
    if reason == OUT_OF_MEMORY and needs_whole_batches(loss):
        return f"{reason}, and its loss '{loss.name}' needs whole batches: lower batch_size"
    return reason


def train_block(
    block: Learner, lesson: Lesson, loss: AppliedLoss, replicas: ReplicaGroup | None = None
) -> tuple[Tensor, Tensor]:
    """Train a replacement on one batch.

    Args:
        block: The replacement with its optimiser.
        lesson: Input and target.
        loss: The loss between output and target.
        replicas: The workers that share the batch, if any.

    Returns:
        The output before the optimiser step, and the loss, both detached.
    """
    block.optimiser.zero_grad(set_to_none=True)
    if block.micro_batches > 1 and not needs_whole_batches(loss.loss):
        output, value = _in_micro_batches(block, lesson, loss)
    else:
        output, context = _run(block, lesson, loss)
        value = (
            loss(output, lesson.target, context)
            if replicas is None
            else replicas.loss(loss, output, lesson.target, context)
        )
        block.scaler.scale(value).backward()  # type: ignore[no-untyped-call]
    if replicas is not None:
        replicas.add_gradients(block.replacement)
    block.step()
    return output.detach(), value.detach()


def _run(block: Learner, lesson: Lesson, loss: AppliedLoss) -> tuple[Tensor, LossContext | None]:
    """Run a replacement; return its output and the context of its loss."""
    output, features = loss.forward(block.replacement, block.forward, lesson.x)
    if output.shape != lesson.target.shape:
        raise ValueError(f"it gives {tuple(output.shape)} instead of {tuple(lesson.target.shape)}")
    epoch = len(block.losses)
    theirs = loss.teacher_features(lesson.teacher_x)
    context = loss.context(lesson.x, epoch=epoch, features=features, teacher_features=theirs)
    return output, context


def _in_micro_batches(block: Learner, lesson: Lesson, loss: AppliedLoss) -> tuple[Tensor, Tensor]:
    """Accumulate the gradients of micro-batches; BatchNorm sees each micro-batch alone."""
    scale = loss.scale(lesson.target)
    rows = len(lesson.x)
    micro_batches = max(1, min(block.micro_batches, rows // 2))  # BatchNorm needs two rows
    outputs, total = [], torch.zeros((), device=lesson.x.device)
    for parts in zip(*(part.tensor_split(micro_batches) for part in lesson[1:]), strict=True):
        part = Lesson(lesson.block, *parts)
        output, context = _run(block, part, loss)
        value = len(part.x) / rows * loss.error(output, part.target, context)
        value = value if scale is None else value / safe_scale(scale)
        block.scaler.scale(value).backward()  # type: ignore[no-untyped-call]
        outputs.append(output.detach())
        total += value.detach()
    return torch.cat(outputs), total
