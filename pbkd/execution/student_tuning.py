"""One worker's part of fine-tuning: it trains the whole student on its rows of every batch."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch.distributed as dist

from pbkd.errors import RunFolderError
from pbkd.execution.heartbeat import begin_with_heartbeats
from pbkd.execution.process_group import process_group
from pbkd.models.pseudo_labels import PseudoLabelledSplit
from pbkd.runs.assignment import FINE_TUNING, STUDENT
from pbkd.runs.events import record_event
from pbkd.runs.progress import checkpoint_store
from pbkd.training.best_state import newest_checkpoint
from pbkd.training.exchange import open_exchange
from pbkd.training.finetune import train_network
from pbkd.training.link import split_rows
from pbkd.training.replicas import ReplicaGroup
from pbkd.training.shared_scoring import predict_together
from pbkd.training.training_events import TrainingEvents
from pbkd.training.training_hooks import TrainingHooks

if TYPE_CHECKING:
    from torch import nn

    from pbkd.execution.student_part import StudentPart
    from pbkd.training.throughput import Pace
    from pbkd.training.training_settings import TrainingSettings


__all__ = ["tune_student"]


def tune_student(part: StudentPart, settings: TrainingSettings) -> None:
    """Fine-tune the student for a round, with all other workers, from its newest checkpoint.

    The first worker writes checkpoints, the last of which has the result, and records the epochs.

    Args:
        part: This worker's part.
        settings: Hyperparameters; the assignment has the epochs.

    Raises:
        RunFolderError: There is no readable checkpoint.
    """
    task, workers = part.task, part.assignment.workers
    begun, epochs = part.assignment.epochs
    student = part.build_student()
    with process_group(task.device, part.rank, len(workers), part.assignment.launch):
        batch = min(settings.batch_size, len(task.data.train))
        speeds = [worker.speed for worker in workers]
        rows = split_rows(range(len(workers)), batch, speeds)[part.rank]
        exchange = open_exchange(dist.group.WORLD, task.device)
        replicas = ReplicaGroup(exchange, rows, batch)
        validation, normalization = task.data.validation, task.teacher.normalization
        if isinstance(validation, PseudoLabelledSplit):
            classes = predict_together(task.teacher.network, validation, normalization, replicas)
            validation.know_labels(classes)
        train_network(
            student,
            task.data,
            normalization,
            replace(settings, begun=begun, epochs=epochs, replicas=replicas),
            teacher=task.feeding,
            hooks=_hooks(part, student, epochs, rows.stop - rows.start),
        )


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
    return begin_with_heartbeats(job, events.emit)
