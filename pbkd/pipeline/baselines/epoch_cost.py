"""The cost of an epoch of training, estimated from some of its steps, and how many fit a budget."""

from __future__ import annotations

import copy
import statistics
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch

from pbkd.core.process import cpu_seconds
from pbkd.data.batching import steps_per_epoch
from pbkd.data.splits import Subset
from pbkd.errors import ConfigError
from pbkd.models.latency import synchronise
from pbkd.training.finetune import train_network
from pbkd.training.training_hooks import TrainingHooks

if TYPE_CHECKING:
    from torch import nn

    from pbkd.runs.finished import Finished
    from pbkd.training.task import DistillationTask
    from pbkd.training.training_settings import TrainingSettings


__all__ = ["Spent", "TimeBudget", "epoch_cost", "now", "time_budget"]

_TIMED_STEPS = 10
_TIMED_ROUNDS = 4  # the first one warms up


class Spent(NamedTuple):
    """Time, in seconds: by the clock, and of all CPUs."""

    seconds: float
    cpu_seconds: float

    def since(self, before: Spent) -> Spent:
        """The time between two readings."""
        return Spent(self.seconds - before.seconds, self.cpu_seconds - before.cpu_seconds)


@dataclass(frozen=True)
class TimeBudget:
    """What each training may take: seconds or CPU seconds; the other is None."""

    seconds: float | None
    cpu_seconds: float | None

    def epochs(self, cost: Spent) -> int:
        """Return how many whole epochs come nearest to the budget; at least one."""
        given, per_epoch = self._compare(cost)
        return max(1, round(given / per_epoch))

    def note(self, cost: Spent) -> str | None:
        """Return a remark if the budget is less than an epoch."""
        given, per_epoch = self._compare(cost)
        unit = "seconds" if self.cpu_seconds is None else "CPU seconds"
        if given >= per_epoch:
            return None
        return (
            f"The {given:.2f} {unit} allowed are less than an epoch takes ({per_epoch:.2f}"
            f" {unit}): one whole epoch was trained."
        )

    def _compare(self, cost: Spent) -> tuple[float, float]:
        if self.cpu_seconds is not None:
            return self.cpu_seconds, cost.cpu_seconds
        assert self.seconds is not None, "a budget has one of both"
        return self.seconds, cost.seconds


def time_budget(finished: Finished, seconds: float | None, threads: int | None) -> TimeBudget:
    """Return what each training may take: as much as the training phases of a run.

    On CPUs CPU seconds count, which other load on the machine hardly changes.

    Args:
        finished: The run.
        seconds: Seconds that were asked for; None for the run's.
        threads: CPU threads of the training; None on an accelerator.

    Raises:
        ConfigError: If no seconds were asked for and the run's are unknown.
    """
    if seconds is not None:
        return TimeBudget(seconds, None) if threads is None else TimeBudget(None, seconds * threads)
    if finished.training_seconds is None:
        raise ConfigError(
            f"the run '{finished.name}' was resumed, so that it is not known what it took: give"
            " --seconds."
        )
    if threads is not None and finished.training_cpu_seconds:
        return TimeBudget(None, finished.training_cpu_seconds)
    return TimeBudget(finished.training_seconds, None)


def epoch_cost(
    network: nn.Module,
    task: DistillationTask,
    settings: TrainingSettings,
    teacher: nn.Module | None,
) -> Spent:
    """Estimate the time of an epoch from some training steps and one validation pass.

    Args:
        network: The network to train; a copy of it is timed.
        task: Teacher and data.
        settings: Hyperparameters.
        teacher: Gives the soft targets; None to train on labels.

    Returns:
        Time per epoch, validation included.
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
    times: list[Spent] = []
    trial = copy.deepcopy(network)
    train_network(
        trial,
        data,
        task.teacher.normalization,
        replace(settings, epochs=_TIMED_ROUNDS),
        teacher=teacher,
        hooks=TrainingHooks(lambda _epoch, _loss, _score: times.append(now(task.device))),
    )
    rounds = [after.since(before) for before, after in pairwise(times)]
    start = now(task.device)
    task.score(trial, task.data.validation)
    validation = now(task.device).since(start)
    per_step = (statistics.median(part) / steps for part in zip(*rounds, strict=True))
    return Spent(
        *(one * steps_in_epoch + end for one, end in zip(per_step, validation, strict=True))
    )


def now(device: torch.device) -> Spent:
    """Return the time so far, once the device has done its work."""
    synchronise(device)
    return Spent(time.perf_counter(), cpu_seconds())
