"""Evaluation of teacher and student: accuracy, predicted classes, latency, size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from pbkd.core.intervals import wilson_interval
from pbkd.models.accuracy import share_correct
from pbkd.pipeline.drop import drop_wishes
from pbkd.pipeline.network_figures import measure_networks
from pbkd.pipeline.refine import final_stage
from pbkd.pipeline.scoring import predict_states
from pbkd.pipeline.wishes import cost_wishes
from pbkd.planning.limits import timed_images
from pbkd.runs.assignment import EVALUATION
from pbkd.runs.disagreements import find_changes, write_changes
from pbkd.training.best_state import copy_state

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from torch import Tensor, nn

    from pbkd.config.schema import TargetConfig
    from pbkd.core.results import NetworkResult
    from pbkd.core.wishes import Wish
    from pbkd.pipeline.context import RunContext
    from pbkd.pipeline.refine import Stage
    from pbkd.training.task import DistillationTask


__all__ = ["Evaluation", "evaluate"]

_FINISHED = "finished"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Predictions, scores and sizes of teacher and student.

    Attributes:
        teacher: Figures of the teacher.
        student: Figures of the student.
        classes: The predicted classes of the test images, int64 (len(test),), of `teacher` and
            `student`.
        stages: The student's predicted classes of the test images after each stage; None for
            skipped stages.
        test: The student's score on the test split, by stage; None for skipped stages. Scores are
            accuracies, or, without labels, agreement with the teacher.
        validation: The same on the validation split.
        wishes: The target's limits beside what the student costs.
    """

    teacher: NetworkResult
    student: NetworkResult
    classes: Mapping[str, Tensor]
    stages: Mapping[str, Tensor | None]
    test: dict[str, float | None]
    validation: dict[str, float | None]
    wishes: tuple[Wish, ...]


def evaluate(
    ctx: RunContext,
    student: nn.Module,
    stages: Mapping[str, Stage | None],
    accepted: Collection[str],
    target: TargetConfig,
    figures: tuple[NetworkResult, NetworkResult] | None = None,
) -> Evaluation:
    """Score and measure teacher and student; write the images on which they disagree.

    Args:
        ctx: The run.
        student: The finished student; it is left as it is.
        stages: The student after each stage; None for skipped stages.
        accepted: The candidates that are in the student.
        target: What the student may cost.
        figures: Sizes and latencies of teacher and student; None to measure them.

    Returns:
        Predictions, scores, sizes and latencies.
    """
    task, test = ctx.task, ctx.task.data.test
    with ctx.clock.phase("evaluation"):
        predict = partial(predict_states, ctx, EVALUATION, student, accepted=accepted)
        final, by_stage = predict_stages(student, stages, predict)
        classes = {"teacher": task.teacher_classes, "student": final}
        changes = find_changes(test, **classes, labelled=task.data.labelled)
        write_changes(ctx.folder, changes)
        with ctx.observers.paused():
            figures = figures or measure_networks(task, student, target, ctx.planned.tools.engine)
    teacher_result, student_result = figures
    return Evaluation(
        teacher=replace(teacher_result, **_scored(task, "teacher", classes["teacher"])),
        student=replace(student_result, **_scored(task, "student", final)),
        classes=classes,
        stages=by_stage,
        test={
            name: None if predicted is None else share_correct(predicted, test)
            for name, predicted in by_stage.items()
        },
        validation={
            name: None if stage is None else stage.validation for name, stage in stages.items()
        },
        wishes=(
            *cost_wishes(target, teacher_result, student_result, len(timed_images(task, target))),
            *drop_wishes(target, task, classes, final_stage(stages).classes),
        ),
    )


def predict_stages(
    student: nn.Module,
    stages: Mapping[str, Stage | None],
    predict: Callable[[Mapping[str, Mapping[str, Tensor]]], Mapping[str, Tensor]],
) -> tuple[Tensor, dict[str, Tensor | None]]:
    """Predict the classes of the test images, once for stages with the same weights.

    Args:
        student: The finished student; it is left as it is.
        stages: The student after each stage; None for skipped stages.
        predict: Predicts the classes with each of several states of the student.

    Returns:
        The classes of the finished student, int64 (len(test),), and those after each stage.
    """
    finished = copy_state(student)
    states = {name: stage.state for name, stage in stages.items() if stage is not None}
    states[_FINISHED] = finished
    first = {
        name: next(o for o, theirs in states.items() if o == name or _are_equal(state, theirs))
        for name, state in states.items()
    }
    classes = predict({name: states[name] for name in dict.fromkeys(first.values())})
    student.load_state_dict(finished)
    by_stage = {name: classes[first[name]] if name in first else None for name in stages}
    return classes[first[_FINISHED]], by_stage


def _are_equal(state: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(state[name], tensor) for name, tensor in other.items())


def _scored(task: DistillationTask, role: str, classes: Tensor) -> dict[str, Any]:
    """The accuracy, or, without labels, the student's agreement with the teacher; its interval."""
    test = task.data.test
    score = share_correct(classes, test)
    interval = wilson_interval(int((classes == test.labels).sum()), len(test))
    if task.data.labelled:
        return {"accuracy": score, "interval": interval}
    if role == "student":
        return {"accuracy": None, "agreement": score, "interval": interval}
    return {"accuracy": None}
