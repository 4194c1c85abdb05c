"""Resolution of the configuration: everything that it leaves open gets its value, once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pbkd.data.batching import steps_per_epoch
from pbkd.models.layers import dense_convolutions
from pbkd.models.metrics import parameters
from pbkd.planning.training_length import training_length

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.config.schema import RunConfig
    from pbkd.models.proposal import Proposal
    from pbkd.training.task import DistillationTask


__all__ = ["epochs_of_steps", "resolve"]

_MOST = 2  # times the usual epochs, until a student loses as little as it may


def resolve(
    config: RunConfig, task: DistillationTask, proposals: Mapping[str, Proposal], workers: int
) -> RunConfig:
    """Fill in what a configuration leaves open.

    Args:
        config: The configuration as given.
        task: Teacher and data.
        proposals: What the builders propose, by candidate.
        workers: The number of workers.

    Returns:
        The configuration with `workers` as a number, the preprocessing of the teacher in `data`,
        the options by which it was cut, and a number of epochs for every phase. It is not changed
        afterwards. For a curve, the epochs of fine-tuning stay open, since each point has its own,
        and the teacher-fed phase has as many as its smallest student needs.
    """
    distill, finetune, train = config.distill, config.finetune, task.data.train
    length = training_length(
        len(train),
        steps_per_epoch(train, config.batch_size),
        depth=sum(1 for _ in dense_convolutions(task.chain)),
        parameters=_student_parameters(config, task, proposals),
    )
    views = max(1, config.views)  # an epoch of the blockwise phases has all of them
    teacher_fed = max(1, round(length.teacher_fed / views))
    tuning = finetune.epochs
    if tuning is None and config.target.curve is None:
        tuning = length.fine_tuning * (_MOST if config.target.max_drop is not None else 1)
    return replace(
        config,
        data=dict(task.data_choice),
        partitioner={**task.partitioner, "name": config.partitioner["name"]},
        workers=workers,
        distill=replace(distill, epochs=distill.epochs or teacher_fed),
        finetune=replace(finetune, epochs=tuning),
    )


def epochs_of_steps(steps: int, images: int, batch_size: int) -> int:
    """Compute how many epochs come nearest to a number of training steps.

    Args:
        steps: The steps.
        images: Images of the training split.
        batch_size: Images per step.

    Returns:
        The epochs, at least one.
    """
    return max(1, round(steps / max(1, images // batch_size)))


def _student_parameters(
    config: RunConfig, task: DistillationTask, proposals: Mapping[str, Proposal]
) -> int:
    """Return the student's parameters as the target wants them, else with all replacements."""
    whole = parameters(task.chain)
    target = config.target
    wanted = target.parameters or target.macs or min(target.curve or (), default=None)
    if wanted is not None:
        return round(wanted * whole)
    first = {proposal.block.name: proposal for proposal in reversed(list(proposals.values()))}
    return whole - sum(p.before.parameters - p.after.parameters for p in first.values())
