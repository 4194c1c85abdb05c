"""A run's own student trained the ordinary ways, from random weights, in the time of the run."""

from __future__ import annotations

import copy
import math
import statistics
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from pbkd.config.load import load_config
from pbkd.core.devices import pick_device
from pbkd.core.process import keep_freed_memory, thread_count
from pbkd.core.results import BaselineResult
from pbkd.core.seeding import derive_seed
from pbkd.data.batching import steps_per_epoch
from pbkd.data.splits import Subset
from pbkd.errors import ConfigError, did_you_mean
from pbkd.execution.workers import local_workers
from pbkd.models.latency import synchronise
from pbkd.models.student import architecture
from pbkd.models.student_files import read_recipe
from pbkd.models.teacher import user_network_factory
from pbkd.plugin.registry import build_registry
from pbkd.runs.finished import METHODS, add_baseline, read_finished
from pbkd.runs.folder import locked
from pbkd.runs.identity import check_inputs
from pbkd.training.finetune import TrainingHooks, TrainingSettings, train_network
from pbkd.training.task import build_task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import nn

    from pbkd.config.schema import RunConfig
    from pbkd.training.task import DistillationTask


__all__ = ["RATES", "Told", "random_student", "seconds_per_epoch", "train_baselines"]

RATES = {"adamw": (0.003, 0.05), "sgd": (0.1, 0.0005)}
"""Each optimiser's peak learning rate and weight decay, if not told another: those by which the
zoo's teachers and the ResNets of the literature are trained from scratch."""
_PLACES = ("teacher.weights", "data.path")
_STEPS, _ROUNDS = 10, 4  # of timing; the first round warms up
Told = tuple[str, int, int, float, float]
"""Method, epoch, epochs, mean loss, validation accuracy."""


@dataclass(frozen=True)
class _Common:
    """What the methods share: the student before training, and all that it is trained with."""

    config: RunConfig
    task: DistillationTask
    student: nn.Module
    seconds: float
    optimiser: str
    lr: float
    command: str


def train_baselines(
    folder: Path,
    methods: Sequence[str] = METHODS,
    *,
    overrides: Sequence[str] = (),
    seconds: float | None = None,
    optimiser: str = "adamw",
    lr: float | None = None,
    command: str = "",
    tell: Callable[[Told], None] = lambda _told: None,
) -> dict[str, BaselineResult]:
    """Train the student of the run in `folder` by each method; write `baselines.json`.

    Each method gets `seconds`, or what the run's training phases took. Returns every baseline of
    the run by method, those from before included. `overrides` say where the teacher's weights and
    the data are now. Raises `ConfigError`, `RunFolderError` or `IdentityError`.
    """
    keep_freed_memory()
    _check(methods, seconds, optimiser, lr)
    finished = read_finished(folder)
    given = finished.training_seconds if seconds is None else seconds
    if given is None:
        raise ConfigError(
            f"the run in '{folder}' was resumed, so that it is not known what it took: give"
            " --seconds."
        )
    config = _moved(folder, overrides)
    device = pick_device(config.device)
    with locked(folder), thread_count(_threads(config, device)):
        task = build_task(
            config, build_registry(config.plugins), local_workers(1, None, device)[0].device
        )
        check_inputs(folder, config, task)
        if not task.data.labelled:
            raise ConfigError(
                f"the data of the run in '{folder}' has no labels, by which a baseline is compared."
            )
        student = random_student(folder, config).to(task.device)
        common = _Common(
            config, task, student, given, optimiser, lr or RATES[optimiser][0], command
        )
        known = finished.baselines
        for method in methods:
            known = add_baseline(folder, _train(common, method, tell))
    return known


def _moved(folder: Path, overrides: Sequence[str]) -> RunConfig:
    """Return a run's configuration, with other places for its files and nothing else changed."""
    for override in overrides:
        key = override.partition("=")[0]
        if key not in _PLACES:
            raise ConfigError(
                f"'{key}' cannot be changed: a baseline has the configuration of its run, in which"
                f" only {' and '.join(_PLACES)} may have moved."
            )
    return load_config(overrides, file=folder / "config.yaml")


def _threads(config: RunConfig, device: str) -> int:
    """Return as many CPU threads as the run's workers had together, or a thread for each core."""
    workers = config.workers if isinstance(config.workers, int) else 1
    most = local_workers(1, None, device)[0].threads
    return min(most, config.threads * workers) if config.threads else most


def random_student(folder: Path, config: RunConfig) -> nn.Sequential:
    """Return the architecture of a run's student with every layer's weights drawn anew.

    They depend on the run's seed alone; where a layer has no `reset_parameters`, they are those
    that it is built with. The teacher's weights have no part in it.
    """
    recipe = read_recipe(folder / "student" / "config.json")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "baseline"))
        make = user_network_factory(build_registry(config.plugins), config.teacher)
        student = architecture(recipe, config.plugins, make)
        for module in student.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return student


def seconds_per_epoch(
    student: nn.Module,
    task: DistillationTask,
    settings: TrainingSettings,
    teacher: nn.Module | None,
) -> float:
    """Time real training steps, after a warm-up, and a validation pass, on copies."""
    train = task.data.train
    whole = steps_per_epoch(train, settings.batch_size)
    steps = min(_STEPS, whole)
    few = torch.arange(min(len(train), steps * settings.batch_size))
    data = replace(
        task.data,
        train=Subset(train, few),
        validation=Subset(task.data.validation, torch.arange(1)),
    )
    times: list[float] = []
    trial = copy.deepcopy(student)
    _fit(
        trial, replace(task, data=data), replace(settings, epochs=_ROUNDS), teacher,
        lambda _epoch, _loss, _score: times.append(_now(task.device)),
    )  # fmt: skip
    rounds = [after - before for before, after in pairwise(times)]
    start = _now(task.device)
    task.score(trial, task.data.validation)
    return statistics.median(rounds) / steps * whole + _now(task.device) - start


def _train(common: _Common, method: str, tell: Callable[[Told], None]) -> BaselineResult:
    config, task = common.config, common.task
    settings = TrainingSettings(
        epochs=1,
        lr=common.lr,
        weight_decay=RATES[common.optimiser][1],
        batch_size=config.batch_size,
        seed=config.seed,
        temperature=config.finetune.temperature,
        soft_weight=config.finetune.soft_weight,
        optimiser=common.optimiser,
    )
    teacher = task.feeding if method == "distillation" else None
    per_epoch = seconds_per_epoch(common.student, task, settings, teacher)
    epochs = max(1, round(common.seconds / per_epoch))
    student = copy.deepcopy(common.student)
    start = _now(task.device)
    best = _fit(
        student, task, replace(settings, epochs=epochs), teacher,
        lambda epoch, loss, score: tell((method, epoch + 1, epochs, loss, score)),
    )  # fmt: skip
    spent = _now(task.device) - start
    return BaselineResult(
        method=method,
        accuracy=task.score(student, task.data.test),
        validation_accuracy=best,
        seconds=spent,
        seconds_given=common.seconds,
        epochs=epochs,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        seed=config.seed,
        optimiser=settings.optimiser,
        command=common.command,
        note=_note(common.seconds, per_epoch),
    )


def _note(seconds: float, per_epoch: float) -> str | None:
    if seconds >= per_epoch:
        return None
    return (
        f"The {seconds:.2f} seconds given are less than an epoch takes ({per_epoch:.2f} seconds):"
        " one whole epoch was trained."
    )


def _fit(
    student: nn.Module,
    task: DistillationTask,
    settings: TrainingSettings,
    teacher: nn.Module | None,
    epoch_finished: Callable[[int, float, float], None],
) -> float:
    return train_network(
        student,
        task.data,
        task.teacher.normalization,
        replace(settings, dtype=task.dtype),
        teacher=teacher,
        hooks=TrainingHooks(epoch_finished),
    )


def _now(device: torch.device) -> float:
    synchronise(device)
    return time.perf_counter()


def _check(methods: Sequence[str], seconds: float | None, optimiser: str, lr: float | None) -> None:
    if optimiser not in RATES:
        raise ConfigError(f"unknown optimiser '{optimiser}'.{did_you_mean(optimiser, RATES)}")
    for method in methods:
        if method not in METHODS:
            raise ConfigError(f"unknown method '{method}'.{did_you_mean(method, METHODS)}")
    for option, value in (("--seconds", seconds), ("--lr", lr)):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{option} is {value}, but must be above 0 and finite.")
