"""One worker's part of fine-tuning: it trains the whole student on its rows of every batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch.distributed as dist

from pbkd.core.blocks import candidate_of
from pbkd.errors import RunFolderError
from pbkd.execution.heartbeat import heartbeat_per_item
from pbkd.execution.process_group import process_group
from pbkd.models.rebuilding import rebuild
from pbkd.models.student import assemble
from pbkd.runs.assignment import FINE_TUNING, STUDENT
from pbkd.runs.events import record_event
from pbkd.runs.progress import checkpoint_store
from pbkd.training.best_state import newest_checkpoint
from pbkd.training.finetune import train_network
from pbkd.training.link import split_rows
from pbkd.training.replicas import ReplicaGroup
from pbkd.training.throughput import begin_job
from pbkd.training.training_events import TrainingEvents
from pbkd.training.training_hooks import TrainingHooks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from pbkd.protocols import BlockBuilder
    from pbkd.runs.assignment import Assignment
    from pbkd.training.finetune import TrainingSettings
    from pbkd.training.task import DistillationTask
    from pbkd.training.throughput import Pace


__all__ = ["StudentPart", "tune_student"]


@dataclass(frozen=True)
class StudentPart:
    """A worker's part of fine-tuning.

    Attributes:
        folder: The run folder.
        rank: This worker's rank in the assignment.
        assignment: All workers, and the candidates that are in the student.
        task: Teacher, data and chain.
        builders: The builders of the candidates, by the candidates' names.
    """

    folder: Path
    rank: int
    assignment: Assignment
    task: DistillationTask
    builders: Mapping[str, BlockBuilder]


def tune_student(part: StudentPart, settings: TrainingSettings) -> None:
    """Fine-tune the student together with all other workers, from its newest checkpoint.

    The first worker writes checkpoints, the last of which has the result, and records the epochs.

    Args:
        part: This worker's part.
        settings: Hyperparameters.

    Raises:
        RunFolderError: There is no readable checkpoint.
    """
    task, workers = part.task, part.assignment.workers
    student = _build_student(part, settings.seed)
    with process_group(task.device, part.rank, len(workers), part.assignment.launch):
        assert dist.group.WORLD is not None, "the process group is initialised"
        batch = min(settings.batch_size, len(task.data.train))
        speeds = [worker.speed for worker in workers]
        rows = split_rows(range(len(workers)), batch, speeds)[part.rank]
        train_network(
            student,
            task.data,
            task.teacher.normalization,
            replace(settings, replicas=ReplicaGroup(dist.group.WORLD, rows, batch)),
            teacher=task.feeding,
            hooks=_hooks(part, student, settings.epochs, rows.stop - rows.start),
        )


def _build_student(part: StudentPart, seed: int) -> nn.Module:
    """Build the student; its weights then come from a checkpoint."""
    replacements = {}
    for name, builder in part.builders.items():
        block = part.assignment.blocks[candidate_of(name)[0]]
        segment = part.task.chain[block.position]
        replacements[block.name] = rebuild(builder, segment, block, seed)
    return assemble(part.task.chain, replacements).to(part.task.device)


def _hooks(part: StudentPart, student: nn.Module, epochs: int, images: int) -> TrainingHooks:
    is_first = part.rank == 0
    writer = "rank0" if is_first else None
    store = checkpoint_store(part.folder, FINE_TUNING, STUDENT, writer=writer)
    if newest_checkpoint(store, student) is None:
        raise RunFolderError(
            f"no checkpoint of fine-tuning in '{store.folder}' can be read: resume the run."
        )
    events = TrainingEvents(
        emit=partial(record_event, part.folder, f"rank{part.rank}"),
        phase=FINE_TUNING,
        network=STUDENT,
        epochs=epochs,
        images=images,
        worker=part.rank,
    )
    return TrainingHooks(
        events.epoch_finished if is_first else _ignore_epoch,
        store,
        is_first,
        partial(_start_pace, events),
        rate_lowered=events.rate_lowered if is_first else _ignore_note,
    )


def _ignore_epoch(_epoch: int, _loss: float, _score: float) -> None:
    pass


def _ignore_note(_text: str) -> None:
    pass


def _start_pace(events: TrainingEvents, begun: int, steps: int) -> Pace:
    job = events.job(begun, steps)
    if begun == events.epochs:
        job = replace(job, blocks=())
    counted = begin_job(job, events.emit)
    return lambda items: heartbeat_per_item(counted(items))
