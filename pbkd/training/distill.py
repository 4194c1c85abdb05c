"""The training loop: the replacements of a job learn from its lessons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pbkd.core.blocks import candidate_of
from pbkd.errors import PluginError
from pbkd.training.failures import describe_error, divergence_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch import Tensor

    from pbkd.protocols import Loss
    from pbkd.training.feeds import Lessons
    from pbkd.training.learner import Learner
    from pbkd.training.replicas import ReplicaGroup


__all__ = ["train_block", "train_job"]


def train_job(
    learners: Mapping[str, Learner],
    epochs: Iterable[Iterable[Lessons]],
    loss: Loss,
    *,
    replicas: ReplicaGroup | None = None,
    epoch_finished: Callable[[str, float], None] = lambda _name, _loss: None,
) -> None:
    """Train the replacements of one job.

    Each replacement learns its block's target from its lesson's input, with its own loss and
    optimiser; all candidates of a block share its lessons. If the loss of a replacement diverges
    (checked after every epoch) or its code raises, its `failure` is set and the others go on.

    Args:
        learners: The replacements by candidate name.
        epochs: The lessons of every batch of every epoch, from the first epoch that any replacement
            has not finished; replacements that are further skip the epochs that they have finished.
        loss: The loss between a replacement's output and its target.
        replicas: The workers that share this job's batches, if any.
        epoch_finished: Gets the name and mean loss of each replacement after every epoch.

    Raises:
        PluginError: If a replacement raises in a replica group, where the others would wait for it.
    """
    first = min((len(block.losses) for block in learners.values()), default=0)
    for epoch, batches in enumerate(epochs, first):
        by_block: dict[str, dict[str, Learner]] = {}
        for name, block in learners.items():
            if block.failure is None and len(block.losses) <= epoch:
                by_block.setdefault(candidate_of(name)[0], {})[name] = block
        totals: dict[str, Tensor] = {}
        steps = 0
        for lessons in batches:
            for name, value in _train_batch(by_block, lessons, loss, replicas):
                totals[name] = totals[name] + value if name in totals else value
            steps += 1
        for name, total in totals.items():
            block = learners[name]
            if block.failure is None:
                whole = replicas.sum(total) if replicas else total
                block.losses.append(float(whole) / steps)
                epoch_finished(name, block.losses[-1])
                if reason := divergence_reason(block.losses):
                    block.fail(reason)


def _train_batch(
    by_block: Mapping[str, Mapping[str, Learner]],
    lessons: Lessons,
    loss: Loss,
    replicas: ReplicaGroup | None,
) -> Iterator[tuple[str, Tensor]]:
    """Train on every lesson of one batch and send the outputs back; yield name and loss.

    For a block that has failed, the teacher's output is sent back. A block with several candidates
    is teacher-fed, so that its output is not used.
    """
    output: Tensor | None = None
    while True:
        try:
            name, x, target = next(lessons) if output is None else lessons.send(output)
        except StopIteration:
            return
        output = target
        for candidate, block in by_block.get(name, {}).items():
            if block.failure is not None:
                continue
            try:
                output, value = train_block(block, x, target, loss, replicas)
            except Exception as error:
                if replicas is not None:
                    raise PluginError(
                        f"block '{candidate}' fails: {describe_error(error)}."
                    ) from error
                block.fail(describe_error(error))
            else:
                yield candidate, value


def train_block(
    block: Learner, x: Tensor, target: Tensor, loss: Loss, replicas: ReplicaGroup | None = None
) -> tuple[Tensor, Tensor]:
    """Train a replacement on one batch.

    Args:
        block: The replacement with its optimiser.
        x: The input, (B, C, …).
        target: The teacher's output, (B, C, …).
        loss: The loss between output and target.
        replicas: The workers that share the batch, if any.

    Returns:
        The output before the optimiser step, and the loss, both detached.
    """
    block.optimiser.zero_grad(set_to_none=True)
    if block.micro_batches > 1:
        output, value = _in_micro_batches(block, x, target, loss)
    else:
        output = _output(block, x, target)
        value = loss(output, target) if replicas is None else replicas.loss(loss, output, target)
        block.scaler.scale(value).backward()  # type: ignore[no-untyped-call]
    if replicas is not None:
        replicas.add_gradients(block.replacement)
    block.step()
    return output.detach(), value.detach()


def _output(block: Learner, x: Tensor, target: Tensor) -> Tensor:
    output: Tensor = block.forward(x)
    if output.shape != target.shape:
        raise ValueError(f"it gives {tuple(output.shape)} instead of {tuple(target.shape)}")
    return output


def _in_micro_batches(
    block: Learner, x: Tensor, target: Tensor, loss: Loss
) -> tuple[Tensor, Tensor]:
    """Accumulate the gradients of micro-batches; BatchNorm sees each micro-batch alone."""
    scale = None if loss.scale is None else loss.safe(loss.scale(target))
    micro_batches = max(1, min(block.micro_batches, len(x) // 2))  # BatchNorm needs two rows
    outputs, total = [], torch.zeros((), device=x.device)
    for rows, wanted in zip(
        x.tensor_split(micro_batches), target.tensor_split(micro_batches), strict=True
    ):
        output = _output(block, rows, wanted)
        value = len(rows) / len(x) * loss.error(output, wanted)
        value = value if scale is None else value / scale
        block.scaler.scale(value).backward()  # type: ignore[no-untyped-call]
        outputs.append(output.detach())
        total += value.detach()
    return torch.cat(outputs), total
