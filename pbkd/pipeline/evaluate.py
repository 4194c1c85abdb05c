"""Evaluation of teacher and student: accuracy, predicted classes, latency, size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.core.results import NetworkResult
from pbkd.models.latency import latencies
from pbkd.models.metrics import macs, parameters, weight_bytes
from pbkd.pipeline.refine import copy_state
from pbkd.runs.disagreements import find_changes, write_changes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from pbkd.data.datasets import Split
    from pbkd.pipeline.context import RunContext
    from pbkd.training.task import DistillationTask


__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """The scores and sizes of teacher and student.

    Attributes:
        teacher: Figures of the teacher.
        student: Figures of the student.
        test: The student's score on the test split, by stage; None for skipped stages. Scores are
            accuracies, or, without labels, agreement with the teacher.
        validation: The same on the validation split.
    """

    teacher: NetworkResult
    student: NetworkResult
    test: dict[str, float | None]
    validation: dict[str, float | None]


def evaluate(
    ctx: RunContext, student: nn.Module, states: Mapping[str, dict[str, Tensor] | None]
) -> Evaluation:
    """Score and measure teacher and student; write the images on which they disagree.

    Args:
        ctx: The run.
        student: The finished student; it is left as it is.
        states: The student's parameters and buffers after each stage; None for skipped stages.

    Returns:
        Scores, sizes and latencies.
    """
    task = ctx.task
    with ctx.clock.phase("evaluation"):
        test, validation = (
            evaluate_stages(task, student, states, split)
            for split in (task.data.test, task.data.validation)
        )
        classes = _predicted_classes(task, student)
        changes = find_changes(task.data.test, **classes, labelled=task.data.labelled)
        write_changes(ctx.folder, changes)
        teacher_result, student_result = measure_networks(task, student, classes)
    return Evaluation(teacher_result, student_result, test, validation)


def evaluate_stages(
    task: DistillationTask,
    student: nn.Module,
    states: Mapping[str, dict[str, Tensor] | None],
    split: Split,
) -> dict[str, float | None]:
    """Score the student after each stage on a split.

    Args:
        task: Teacher and data.
        student: The student; it is left as it is.
        states: Its parameters and buffers after each stage; None for skipped stages.
        split: The images and labels to score on.

    Returns:
        The score by stage.
    """
    final = copy_state(student)
    scores: dict[str, float | None] = {}
    for stage, state in states.items():
        scores[stage] = None
        if state is not None:
            student.load_state_dict(state)
            scores[stage] = task.score(student, split)
    student.load_state_dict(final)
    return scores


def _predicted_classes(task: DistillationTask, student: nn.Module) -> dict[str, Tensor]:
    """Predict the classes of the test images; the teacher's are the labels of unlabelled data."""
    networks = {"student": student}
    if task.data.labelled:
        networks["teacher"] = task.teacher.network
    predicted = {role: task.predict(network, task.data.test) for role, network in networks.items()}
    return {"teacher": task.data.test.labels, **predicted}


def measure_networks(
    task: DistillationTask, student: nn.Module, classes: Mapping[str, Tensor]
) -> tuple[NetworkResult, NetworkResult]:
    """Measure size and latency of teacher and student, in turn.

    Args:
        task: Teacher and data.
        student: The student.
        classes: The predicted classes of the test images, by role.

    Returns:
        The figures of teacher and student, with latencies of one image and of a batch.
    """
    networks = {"teacher": task.teacher.network, "student": student}
    batches = sorted({1, len(task.images)})
    timed = [latencies(networks, task.images[:batch]) for batch in batches]
    teacher_result, student_result = (
        NetworkResult(
            name=task.teacher.name if role == "teacher" else f"{task.teacher.name} student",
            **_scored(task, role, classes[role]),
            network=network if role == "student" else None,
            parameters=parameters(network),
            macs=macs(network, task.data.image_shape),
            latencies=tuple(by_role[role] for by_role in timed),
            weight_bytes=weight_bytes(network),
        )
        for role, network in networks.items()
    )
    return teacher_result, student_result


def _scored(task: DistillationTask, role: str, classes: Tensor) -> dict[str, float | None]:
    """The accuracy, or, without labels, the student's agreement with the teacher."""
    score = int((classes == task.data.test.labels).sum()) / len(task.data.test)
    if task.data.labelled:
        return {"accuracy": score}
    return {"accuracy": None, "agreement": score if role == "student" else None}
