"""The result of a run, put together from the results of its stages."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pbkd._version import __version__
from pbkd.core.devices import describe_device
from pbkd.core.results import RunResult
from pbkd.data.preparation import describe_preparation
from pbkd.data.preparation_steps import preparation_steps
from pbkd.energy.accounting import account_energy, devices_in_use
from pbkd.models.paired_scores import class_scores, paired_change
from pbkd.models.precision import precision_note
from pbkd.pipeline.cost_watch import cost_notes
from pbkd.pipeline.run_folder import resumed_note
from pbkd.runs.events import count_events, read_events
from pbkd.runs.folder import times_resumed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.energy_results import EnergyResult
    from pbkd.core.results import PhaseResult
    from pbkd.core.schedule import Worker
    from pbkd.data.datasets import Dataset
    from pbkd.energy.monitor import EnergyMonitor
    from pbkd.pipeline.context import RunContext
    from pbkd.pipeline.finish import Outcome
    from pbkd.pipeline.plan import PlannedRun


__all__ = ["input_notes", "run_result"]

_LONG_RUN = 60.0  # seconds


def run_result(
    ctx: RunContext, outcome: Outcome, notes: Sequence[str], monitor: EnergyMonitor | None
) -> RunResult:
    """Put the result of a run together.

    Args:
        ctx: The run, all of whose phases are over.
        outcome: The finished student.
        notes: Remarks on the teacher, and failures of observer plugins.
        monitor: The energy of all phases; None if only each phase was measured.

    Returns:
        The result.
    """
    data, evaluation = ctx.task.data, outcome.evaluation
    classes, labels = evaluation.classes, data.test.labels
    return RunResult(
        folder=str(ctx.folder),
        command=shlex.join(["pbkd", *sys.argv[1:]]),
        teacher=evaluation.teacher,
        student=evaluation.student,
        accuracies=evaluation.test if data.labelled else dict.fromkeys(evaluation.test),
        agreements={} if data.labelled else evaluation.test,
        accuracy_reason=None if data.labelled else f"the data '{data.name}' has no labels",
        validation=evaluation.validation,
        blocks=outcome.blocks,
        candidates=outcome.candidates,
        phases=_phases(ctx),
        notes=(
            *_skipped_images(data),
            *input_notes(ctx.planned),
            *outcome.notes,
            *notes,
            *cost_notes(read_events(ctx.folder)),
            *resumed_note(ctx.folder),
        ),
        environment=_environment(ctx.plan.workers, ctx.task.device),
        energy=None if monitor is None else _energy(ctx, monitor),
        test_images=len(data.test),
        validation_images=len(data.validation),
        change=paired_change(classes, labels) if data.labelled else None,
        classes=class_scores(classes, labels, data.class_names) if data.labelled else (),
        preparation=tuple(preparation_steps(ctx.task.preparation)),
        class_names=data.class_names,
        resumed=times_resumed(ctx.folder),
        events=count_events(ctx.folder),
        wishes=evaluation.wishes,
        exports=outcome.exports,
    )


def input_notes(planned: PlannedRun) -> list[str]:
    """Note how images are prepared, inputs were taken, and which precision is faster."""
    task = planned.task
    long = sum(planned.phases.values()) > _LONG_RUN
    note = precision_note(task.dtype, task.device, long=long)
    return [
        describe_preparation(task.preparation),
        *task.teacher.notes,
        *task.data.notes,
        *([note] if note else []),
    ]


def _energy(ctx: RunContext, monitor: EnergyMonitor) -> EnergyResult:
    plan = ctx.plan
    in_use = devices_in_use(plan.schedule, plan.workers, str(ctx.task.device))
    resumed = times_resumed(ctx.folder) > 0
    return account_energy(monitor.windows, plan.workers, in_use, resumed=resumed)


def _phases(ctx: RunContext) -> tuple[PhaseResult, ...]:
    """Set the measured phases beside the predicted ones, unless the run was resumed."""
    if times_resumed(ctx.folder):
        return tuple(ctx.clock.results)
    predicted = ctx.planned.phases
    return tuple(replace(p, predicted_seconds=predicted.get(p.name)) for p in ctx.clock.results)


def _skipped_images(data: Dataset) -> list[str]:
    """Note how many corrupt images were left out, if any."""
    count, first = len(data.skipped_files), ", ".join(data.skipped_files[:3])
    more = ", …" if count > 3 else ""
    return [f"Left out {count} corrupt image(s): {first}{more}."] if count else []


def _environment(workers: Sequence[Worker], device: torch.device) -> dict[str, str]:
    accelerator = {} if device.type == "cpu" else {"accelerator": describe_device(device)}
    return {
        "pbkd": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        **accelerator,
        "workers": ", ".join(f"{w.device} ({w.threads} threads)" for w in workers),
    }
