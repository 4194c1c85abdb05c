"""The seconds of an epoch of training, estimated from some of its steps."""

from __future__ import annotations

import copy
import statistics
import time
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from pbkd.data.batching import steps_per_epoch
from pbkd.data.splits import Subset
from pbkd.models.latency import synchronise
from pbkd.training.finetune import TrainingHooks, train_network

if TYPE_CHECKING:
    from torch import nn

    from pbkd.training.finetune import TrainingSettings
    from pbkd.training.task import DistillationTask


__all__ = ["now", "seconds_per_epoch"]

_TIMED_STEPS = 10
_TIMED_ROUNDS = 4  # the first one warms up


def seconds_per_epoch(
    student: nn.Module,
    task: DistillationTask,
    settings: TrainingSettings,
    teacher: nn.Module | None,
) -> float:
    """Estimate the seconds of an epoch from some training steps and one validation pass.

    Args:
        student: The network to train; a copy of it is timed.
        task: Teacher and data.
        settings: Hyperparameters.
        teacher: Gives the soft targets; None to train on labels.

    Returns:
        Seconds per epoch, validation included.
    """
    train = task.data.train
    steps_in_epoch = steps_per_epoch(train, settings.batch_size)
    steps = min(_TIMED_STEPS, steps_in_epoch)
    rows = torch.arange(min(len(train), steps * settings.batch_size))
    data = replace(
        task.data,
        train=Subset(train, rows),
        validation=Subset(task.data.validation, torch.arange(1)),
    )
    times: list[float] = []
    trial = copy.deepcopy(student)
    train_network(
        trial,
        data,
        task.teacher.normalization,
        replace(settings, epochs=_TIMED_ROUNDS),
        teacher=teacher,
        hooks=TrainingHooks(lambda _epoch, _loss, _score: times.append(now(task.device))),
    )
    rounds = [after - before for before, after in pairwise(times)]
    start = now(task.device)
    task.score(trial, task.data.validation)
    validation = now(task.device) - start
    return statistics.median(rounds) / steps * steps_in_epoch + validation


def now(device: torch.device) -> float:
    """Return the time in seconds, once the device has done its work."""
    synchronise(device)
    return time.perf_counter()
