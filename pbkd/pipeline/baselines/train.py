"""Training of baselines beside a finished run, and their results in its folder."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING

import torch

from pbkd.core.baselines import BaselineResult
from pbkd.core.intervals import mean_difference_interval
from pbkd.core.process import keep_freed_memory, thread_count
from pbkd.models.metrics import macs, parameters
from pbkd.pipeline.baselines.context import load_context, open_finished
from pbkd.pipeline.baselines.rivals import BATCHES, build_rival, in_turns
from pbkd.pipeline.baselines.settings import BaselineSettings
from pbkd.pipeline.baselines.trainings import outcomes
from pbkd.report.run_files import rewrite_card
from pbkd.runs.baselines import add_baseline, read_baselines
from pbkd.runs.lock import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from pbkd.core.intervals import Interval
    from pbkd.core.results import Latency
    from pbkd.pipeline.baselines.context import BaselineContext
    from pbkd.pipeline.baselines.rivals import Rival
    from pbkd.pipeline.baselines.settings import BaselineEpoch
    from pbkd.pipeline.baselines.trainings import Outcome


__all__ = ["train_baselines"]

_PASSES = 30
"""Timed passes of each network and batch size."""
_EQUAL = 1.1


def train_baselines(
    folder: Path,
    settings: BaselineSettings | None = None,
    epoch_finished: Callable[[BaselineEpoch], None] = lambda _epoch: None,
) -> dict[str, BaselineResult]:
    """Compare the student of a finished run with what other methods reach at equal cost.

    The networks of all methods are built before the first is trained. After every training
    `baselines.json` and the model card are written.

    Args:
        folder: The run folder.
        settings: Methods, rates, seeds and time.
        epoch_finished: Gets the progress after every epoch.

    Returns:
        Every baseline of the run by name, earlier ones included.

    Raises:
        ConfigError: If a method is not possible, or the run's time is unknown.
        RunFolderError: If the folder holds no finished run, or its files were changed.
        IdentityError: If teacher or data differ from the run's.
        TrustError: If the folder names code that may not run.
    """
    settings = settings or BaselineSettings()
    keep_freed_memory()
    run = open_finished(folder, settings)
    with locked(folder), thread_count(run.threads):
        ctx = load_context(run)
        rivals = [build_rival(ctx, method) for method in settings.methods]
        for rival in rivals:
            for result in _results(ctx, rival, epoch_finished):
                add_baseline(folder, result)
                rewrite_card(folder)
    return read_baselines(folder)


def _results(
    ctx: BaselineContext, rival: Rival, epoch_finished: Callable[[BaselineEpoch], None]
) -> Iterator[BaselineResult]:
    """Yield the result of a method after each of its trainings."""
    run = ctx.run
    network = rival.start(run.config.seed)
    turns = [in_turns(ctx, network, batch, _PASSES) for batch in BATCHES]
    notes = [*ctx.notes, *rival.notes, *_inequality(rival, turns)]
    ended: list[Outcome] = []
    for outcome in outcomes(ctx, rival, epoch_finished):
        ended.append(outcome)
        best = max(ended, key=lambda one: one.training.validation).training.lr
        chosen = [one for one in ended if one.training.lr == best]
        difference, interval = _difference(ctx, [one.classes for one in chosen])
        yield BaselineResult(
            method=rival.method,
            network=rival.network,
            equal=rival.equal,
            parameters=parameters(network),
            macs=macs(network, ctx.task.data.image_shape),
            latencies=tuple(one for one, _ in turns),
            student_latencies=tuple(student for _, student in turns),
            trainings=tuple(one.training for one in ended),
            lr=best,
            score=mean(one.training.score for one in chosen),
            validation=mean(one.training.validation for one in chosen),
            difference=difference,
            interval=interval,
            threads=run.threads,
            max_seconds=run.budget.seconds,
            max_cpu_seconds=run.budget.cpu_seconds,
            optimiser=run.settings.optimiser,
            weight_decay=rival.weight_decay,
            command=run.settings.command,
            notes=tuple(dict.fromkeys((*notes, *_notes(ended)))),
        )


def _inequality(rival: Rival, turns: Sequence[tuple[Latency, Latency]]) -> Iterator[str]:
    """Yield a remark if a network that should be as fast as the student is not."""
    found, student = turns[-1]
    ratio = found.median_seconds / student.median_seconds
    if rival.equal == "milliseconds" and not 1 / _EQUAL < ratio < _EQUAL:
        yield (
            f"A batch of {BATCHES[-1]} takes {ratio:.2f} times as long as the student's, though it"
            " was pruned until both were equal: other load on the machine disturbed the search."
        )


def _notes(ended: Sequence[Outcome]) -> Iterator[str]:
    for outcome in ended:
        yield from outcome.notes


def _difference(ctx: BaselineContext, classes: Sequence[Tensor]) -> tuple[float, Interval]:
    """Return the student's score minus the mean of a rival's, with its 95 % interval."""
    labels = ctx.task.data.test.labels
    rivals = torch.stack([(one == labels).double() for one in classes]).mean(0)
    differences = (ctx.student_classes == labels).double() - rivals
    total, squares = float(differences.sum()), float(differences.square().sum())
    return total / len(labels), mean_difference_interval(total, squares, len(labels))
