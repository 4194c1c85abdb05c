"""The trainings of a baseline: at each rate with the first seed, at the best with the others."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pbkd.core.baselines import BaselineTraining
from pbkd.data.batching import steps_per_epoch
from pbkd.errors import BenchError
from pbkd.models.accuracy import accuracy, predict_classes, share_correct
from pbkd.models.paired_scores import paired_change
from pbkd.pipeline.baselines.epoch_cost import Spent, epoch_cost, now
from pbkd.pipeline.baselines.settings import BaselineEpoch
from pbkd.training.finetune import train_network
from pbkd.training.finetune_loss import apply_to_student
from pbkd.training.losses import create_loss
from pbkd.training.optimisation import Optimisation
from pbkd.training.optimisation_check import check_optimiser
from pbkd.training.training_hooks import TrainingHooks
from pbkd.training.training_settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor, nn

    from pbkd.pipeline.baselines.context import BaselineContext
    from pbkd.pipeline.baselines.rivals import Rival
    from pbkd.training.throughput import Pace


__all__ = ["Outcome", "outcomes"]

_LOSS = "soft-target"
_UNTRAINED = -1.0  # any epoch is better: few validation images may all be right before training


@dataclass(frozen=True)
class Outcome:
    """A training that ended.

    Attributes:
        training: Its figures.
        classes: The predicted classes of the test images, int64 (len(test),).
        notes: Remarks for the reader.
    """

    training: BaselineTraining
    classes: Tensor
    notes: tuple[str, ...] = ()


def outcomes(
    ctx: BaselineContext, rival: Rival, epoch_finished: Callable[[BaselineEpoch], None]
) -> Iterator[Outcome]:
    """Train a rival at each rate with the first seed, then at the best rate with the others.

    Args:
        ctx: The run.
        rival: The network.
        epoch_finished: Gets the progress after every epoch.

    Yields:
        Each training as it ends; for a ready network its scores.
    """
    run = ctx.run
    seeds = [run.config.seed] if run.settings.seeds is None else range(run.settings.seeds)
    if rival.is_trained:
        yield _ready(ctx, rival, seeds[0])
        return
    settings = _hyperparameters(ctx, rival, seeds[0])
    cost = epoch_cost(rival.start(seeds[0]), ctx.task, settings, _teacher(ctx, rival))
    settings = replace(settings, epochs=run.budget.epochs(cost))
    note = run.budget.note(cost)
    notes = (note,) if note else ()
    found = []
    for rate in run.settings.rates_for(len(ctx.task.data.train)):
        outcome = _train(ctx, rival, _with_rate(settings, rate), epoch_finished)
        found.append(outcome.training)
        yield replace(outcome, notes=(*notes, *outcome.notes))
    best = max(found, key=lambda training: training.validation)
    for seed in seeds[1:]:
        yield _train(ctx, rival, _with_rate(replace(settings, seed=seed), best.lr), epoch_finished)


def _ready(ctx: BaselineContext, rival: Rival, seed: int) -> Outcome:
    """Score a network that is trained already."""
    data, network = ctx.task.data, rival.start(seed)
    validation = accuracy(network, data.validation, rival.normalization, device=ctx.task.device)
    untrained = {"lr": 0.0, "seed": seed, "epochs": 0, "steps": 0}
    return _scored(ctx, rival, network, Spent(0.0, 0.0), {**untrained, "validation": validation})


def _hyperparameters(ctx: BaselineContext, rival: Rival, seed: int) -> TrainingSettings:
    """The hyperparameters of a rival, for one epoch at the first rate."""
    run, task = ctx.run, ctx.task
    builder = run.registry.create("optimiser", {"name": run.settings.optimiser})
    check_optimiser(builder, rival.weight_decay, task.device)
    tuning = run.config.finetune.loss
    loss = tuning if tuning["name"] == _LOSS else {"name": _LOSS}
    return TrainingSettings(
        epochs=1,
        optimisation=Optimisation(
            optimiser=builder,
            schedule=run.registry.create("lr-schedule", {"name": "cosine"}),
            lr=run.settings.rates[0],
            weight_decay=rival.weight_decay,
        ),
        batch_size=run.config.batch_size,
        seed=seed,
        loss=apply_to_student(create_loss(run.registry, loss, "finetune.loss"), task),
        dtype=task.dtype,
    )


def _with_rate(settings: TrainingSettings, rate: float) -> TrainingSettings:
    return replace(settings, optimisation=replace(settings.optimisation, lr=rate))


def _teacher(ctx: BaselineContext, rival: Rival) -> nn.Module | None:
    return ctx.task.feeding if rival.soft_targets else None


def _train(
    ctx: BaselineContext,
    rival: Rival,
    settings: TrainingSettings,
    epoch_finished: Callable[[BaselineEpoch], None],
) -> Outcome:
    """Train a copy of a rival's network, and score it."""
    task = ctx.task
    network = copy.deepcopy(rival.start(settings.seed))
    seen = _Seen()
    begun = now(task.device)
    best = train_network(
        network,
        task.data,
        task.teacher.normalization,
        settings,
        teacher=_teacher(ctx, rival),
        hooks=_hooks(rival.method, settings, epoch_finished, seen),
    )
    spent = now(task.device).since(begun)
    wanted = settings.epochs * steps_per_epoch(task.data.train, settings.batch_size)
    _check_steps(seen.steps, wanted)
    done = {"lr": settings.optimisation.lr, "seed": settings.seed, "epochs": settings.epochs}
    figures = {**done, "steps": seen.steps, "validation": best.score}
    return replace(_scored(ctx, rival, network, spent, figures), notes=tuple(seen.notes))


@dataclass
class _Seen:
    """What was seen of a training: its steps, without repeated ones, and remarks."""

    steps: int = 0
    notes: list[str] = field(default_factory=list)


def _hooks(
    method: str,
    settings: TrainingSettings,
    epoch_finished: Callable[[BaselineEpoch], None],
    seen: _Seen,
) -> TrainingHooks:
    """Report epochs and count steps; lower the rate of a training that explodes, as a run does."""
    lr, seed, epochs = settings.optimisation.lr, settings.seed, settings.epochs

    def start_pace(epoch: int, steps: int) -> Pace:
        seen.steps = epoch * steps

        def counted(items: Iterable[Any]) -> Iterator[Any]:
            for item in items:
                yield item
                seen.steps += 1

        return counted

    def report(epoch: int, loss: float, score: float) -> None:
        epoch_finished(BaselineEpoch(method, lr, seed, epoch + 1, epochs, loss, score))

    return TrainingHooks(
        report,
        start_pace=start_pace,
        initial_score=_UNTRAINED,
        rate_lowered=lambda text: seen.notes.append(f"{method}, learning rate {lr:g}: {text}"),
    )


def _check_steps(counted: int, wanted: int) -> None:
    if counted != wanted:
        raise BenchError(f"the baseline was trained for {counted} steps in the place of {wanted}.")


def _scored(
    ctx: BaselineContext, rival: Rival, network: nn.Module, spent: Spent, done: dict[str, Any]
) -> Outcome:
    """Score a network on the test split, beside the run's student."""
    test = ctx.task.data.test
    classes = predict_classes(network, test, rival.normalization, device=ctx.task.device)
    both = {"teacher": classes, "student": ctx.student_classes}
    training = BaselineTraining(
        **done,
        seconds=spent.seconds,
        cpu_seconds=spent.cpu_seconds,
        score=share_correct(classes, test),
        change=paired_change(both, test.labels),
    )
    return Outcome(training, classes)
