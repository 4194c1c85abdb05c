"""Baselines: a run's student trained from random weights, in the time of the run."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch

from pbkd.core.devices import pick_device
from pbkd.core.process import keep_freed_memory, thread_count
from pbkd.core.results import BaselineResult
from pbkd.errors import ConfigError, did_you_mean
from pbkd.execution.workers import local_workers
from pbkd.pipeline.epoch_seconds import now, seconds_per_epoch
from pbkd.pipeline.random_student import random_student
from pbkd.pipeline.trust import open_run
from pbkd.runs.checksums import check_files
from pbkd.runs.configuration import CONFIG
from pbkd.runs.finished import METHODS, add_baseline, read_finished
from pbkd.runs.identity import check_inputs
from pbkd.runs.lock import locked
from pbkd.training.finetune import TrainingHooks, TrainingSettings, train_network
from pbkd.training.finetune_loss import apply_to_student
from pbkd.training.losses import create_loss
from pbkd.training.optimisation import Optimisation
from pbkd.training.optimisation_check import check_optimiser
from pbkd.training.task import build_task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import nn

    from pbkd.config.schema import RunConfig
    from pbkd.plugin.registry import Registry
    from pbkd.training.applied_loss import AppliedLoss
    from pbkd.training.task import DistillationTask


__all__ = ["RATES", "BaselineEpoch", "BaselineSettings", "train_baselines"]

RATES = {"adamw": (0.003, 0.05), "sgd": (0.1, 0.0005)}
"""Default peak learning rate and weight decay of each optimiser: those that train the zoo's
teachers, and the ResNets of the literature, from scratch."""
_MOVABLE = ("teacher.weights", "data.path")


class BaselineEpoch(NamedTuple):
    """Progress of a baseline, after an epoch."""

    method: str
    epoch: int
    epochs: int
    loss: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class BaselineSettings:
    """How baselines are trained.

    Attributes:
        methods: `scratch` (labels) and `distillation` (labels and the teacher's soft targets).
        overrides: `teacher.weights=FILE` or `data.path=PLACE`, if files have moved.
        seconds: Training time of each method; None for what the run's training phases took.
        optimiser: The optimiser's name.
        lr: Peak learning rate; None for that in `RATES`.
        command: The command line, for the record.
        trust: Files and folders whose code runs, see `open_run`.

    Raises:
        ConfigError: If a value is invalid.
    """

    methods: Sequence[str] = METHODS
    overrides: Sequence[str] = ()
    seconds: float | None = None
    optimiser: str = "adamw"
    lr: float | None = None
    command: str = ""
    trust: Sequence[Path] = ()

    def __post_init__(self) -> None:
        """Check the values."""
        for method in self.methods:
            if method not in METHODS:
                raise ConfigError(f"unknown method '{method}'.{did_you_mean(method, METHODS)}")
        for option, value in (("--seconds", self.seconds), ("--lr", self.lr)):
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{option} is {value}, but must be above 0 and finite.")
        for override in self.overrides:
            key = override.partition("=")[0]
            if key not in _MOVABLE:
                raise ConfigError(
                    f"'{key}' cannot be changed: a baseline has the configuration of its run, in"
                    f" which only {' and '.join(_MOVABLE)} may have moved."
                )


def train_baselines(
    folder: Path,
    settings: BaselineSettings | None = None,
    epoch_finished: Callable[[BaselineEpoch], None] = lambda _epoch: None,
) -> dict[str, BaselineResult]:
    """Train the student of a finished run by other methods; write `baselines.json`.

    Args:
        folder: The run folder.
        settings: Methods, time and optimiser.
        epoch_finished: Gets the progress after every epoch.

    Returns:
        Every baseline of the run by method, earlier ones included.

    Raises:
        ConfigError: If the run's time is unknown or its data has no labels.
        RunFolderError: If the folder holds no finished run, or its configuration was changed.
        IdentityError: If teacher or data differ from the run's.
        TrustError: If the folder names code that may not run.
    """
    settings = settings or BaselineSettings()
    keep_freed_memory()
    finished = read_finished(folder)
    seconds = finished.training_seconds if settings.seconds is None else settings.seconds
    if seconds is None:
        raise ConfigError(
            f"the run in '{folder}' was resumed, so that it is not known what it took: give"
            " --seconds."
        )
    check_files(folder, [CONFIG])
    config, registry = open_run(folder, settings.overrides, trust=settings.trust)
    device = pick_device(config.device)
    optimisation = _optimisation(registry, settings, torch.device(device))
    with locked(folder), thread_count(_threads(config, device)):
        task = _build_task(folder, config, registry, device)
        student = random_student(folder, config).to(task.device)
        loss = create_loss(registry, config.finetune.loss, "finetune.loss")
        applied = apply_to_student(loss, task)
        hyperparameters = _hyperparameters(config, optimisation, applied, task.dtype)
        baselines = finished.baselines
        for method in settings.methods:
            result = _train(task, student, hyperparameters, method, seconds, epoch_finished)
            baselines = add_baseline(folder, replace(result, command=settings.command))
    return baselines


def _build_task(
    folder: Path, config: RunConfig, registry: Registry, device: str
) -> DistillationTask:
    """Load teacher and data of a finished run and check that they are the same."""
    task = build_task(config, registry, local_workers(1, None, device)[0].device)
    check_inputs(folder, config, task)
    if not task.data.labelled:
        raise ConfigError(
            f"the data of the run in '{folder}' has no labels, by which a baseline is compared."
        )
    return task


def _threads(config: RunConfig, device: str) -> int:
    """As many CPU threads as the run's workers had together, at most one per core."""
    workers = config.workers if isinstance(config.workers, int) else 1
    most = local_workers(1, None, device)[0].threads
    return min(most, config.threads * workers) if config.threads else most


def _optimisation(
    registry: Registry, settings: BaselineSettings, device: torch.device
) -> Optimisation:
    """Create the optimiser of every method, and check it."""
    name = settings.optimiser
    builder = registry.create("optimiser", {"name": name})
    lr, weight_decay = RATES.get(name, (settings.lr, 0.0))
    if lr is None:
        raise ConfigError(f"the optimiser '{name}' has no default learning rate here: give --lr.")
    schedule = registry.create("lr-schedule", {"name": "cosine"})
    optimisation = Optimisation(
        optimiser=builder, schedule=schedule, lr=settings.lr or lr, weight_decay=weight_decay
    )
    check_optimiser(builder, weight_decay, device)
    return optimisation


def _hyperparameters(
    config: RunConfig, optimisation: Optimisation, loss: AppliedLoss, dtype: torch.dtype
) -> TrainingSettings:
    """The hyperparameters of every method, for one epoch."""
    return TrainingSettings(
        epochs=1,
        optimisation=optimisation,
        batch_size=config.batch_size,
        seed=config.seed,
        loss=loss,
        dtype=dtype,
    )


def _train(
    task: DistillationTask,
    initial: nn.Module,
    settings: TrainingSettings,
    method: str,
    seconds: float,
    epoch_finished: Callable[[BaselineEpoch], None],
) -> BaselineResult:
    """Train a copy of the initial student by a method, for some seconds."""
    teacher = task.feeding if method == "distillation" else None
    per_epoch = seconds_per_epoch(initial, task, settings, teacher)
    epochs = max(1, round(seconds / per_epoch))
    student = copy.deepcopy(initial)
    start = now(task.device)
    best = train_network(
        student,
        task.data,
        task.teacher.normalization,
        replace(settings, epochs=epochs),
        teacher=teacher,
        hooks=TrainingHooks(
            lambda epoch, loss, score: epoch_finished(
                BaselineEpoch(method, epoch + 1, epochs, loss, score)
            )
        ),
    )
    elapsed = now(task.device) - start
    return BaselineResult(
        method=method,
        accuracy=task.score(student, task.data.test),
        validation_accuracy=best,
        seconds=elapsed,
        max_seconds=seconds,
        epochs=epochs,
        lr=settings.optimisation.lr,
        weight_decay=settings.optimisation.weight_decay,
        seed=settings.seed,
        optimiser=settings.optimisation.optimiser.name,
        command="",
        note=_note(seconds, per_epoch),
    )


def _note(seconds: float, per_epoch: float) -> str | None:
    if seconds >= per_epoch:
        return None
    return (
        f"The {seconds:.2f} seconds given are less than an epoch takes ({per_epoch:.2f} seconds):"
        " one whole epoch was trained."
    )
