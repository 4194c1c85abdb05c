"""What a run will do and give, without training: `pbkd run --plan`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.core.process import thread_count
from pbkd.energy.phases import PLANNING
from pbkd.execution.workers import own_threads
from pbkd.models.student import assemble
from pbkd.pipeline.network_figures import measure_networks
from pbkd.pipeline.predict_phases import plan_whole_run
from pbkd.pipeline.run_result import input_notes
from pbkd.pipeline.teacher_check import check_teacher, score_teacher
from pbkd.pipeline.typed_choices import check_strategies, typed_choices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from pbkd.config.schema import RunConfig
    from pbkd.core.events import TeacherScored
    from pbkd.core.results import NetworkResult
    from pbkd.pipeline.plan import PlannedRun
    from pbkd.planning.plan import Plan
    from pbkd.plugin.registry import Registry
    from pbkd.training.task import DistillationTask


__all__ = ["Preview", "preview_run"]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A planned run, and the student that it gives if each replacement is good enough.

    Attributes:
        plan: Blocks, workers and schedule.
        scored: The teacher's score.
        notes: About plugins, inputs, doubts about the teacher and the score of the student before
            training, a sentence each.
        teacher: The teacher's size and latencies.
        student: The student's, measured before training.
        phases: The seconds of planning, and the predicted seconds of the other phases.
    """

    plan: Plan
    scored: TeacherScored
    notes: tuple[str, ...]
    teacher: NetworkResult
    student: NetworkResult
    phases: Mapping[str, float]


def preview_run(config: RunConfig, registry: Registry) -> Preview:
    """Plan a run, score its teacher and measure the student that is expected of it.

    Args:
        config: The configuration.
        registry: The plugins.

    Returns:
        The preview; a teacher that would stop the run is a note in it.

    Raises:
        PbkdError: If configuration, teacher, data or a plugin is wrong.
    """
    with thread_count(own_threads(config.workers, config.threads)):
        return _preview(config, registry)


def _preview(config: RunConfig, registry: Registry) -> Preview:
    check_strategies(config, registry)
    config = typed_choices(config, registry)
    start = time.perf_counter()
    planned = plan_whole_run(config, registry)
    scored = score_teacher(planned.task)
    seconds = time.perf_counter() - start
    doubts = check_teacher(planned.task, allow_chance=True)
    untrained = _student(planned)
    score = _untrained_score(planned.task, untrained)
    notes = (*registry.notes, *input_notes(planned), *doubts, *planned.notes, score)
    target, engine = planned.config.target, planned.tools.engine
    teacher, student = measure_networks(planned.task, untrained, target, engine)
    return Preview(
        plan=planned.plan,
        scored=scored,
        notes=notes,
        teacher=teacher,
        student=student,
        phases={PLANNING: seconds, **planned.phases},
    )


def _untrained_score(task: DistillationTask, student: nn.Module) -> str:
    """Say how good the initial weights are."""
    what = "accuracy" if task.data.labelled else "agreement with the teacher"
    score = 100 * task.score(student, task.data.test)
    return f"Before any training the student has {score:.2f} % {what} on the test split."


def _student(planned: PlannedRun) -> nn.Module:
    replacements = {name: planned.replacements[name] for name in planned.expected}
    return assemble(planned.task.chain, replacements).to(planned.task.device)
