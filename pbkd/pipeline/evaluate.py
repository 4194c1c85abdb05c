"""Evaluation of teacher and student: accuracy, classes, latency, size."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from pbkd.core.results import NetworkResult
from pbkd.models.latency import latencies
from pbkd.models.metrics import macs, parameters, weight_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from pbkd.data.datasets import Split
    from pbkd.pipeline.plan import PlannedRun


__all__ = [
    "copy_state",
    "evaluate_stages",
    "measure_networks",
    "predicted_classes",
    "validation_score",
]


def evaluate_stages(
    planned_run: PlannedRun,
    student: nn.Module,
    stages: Mapping[str, dict[str, Tensor] | None],
    split: Split,
) -> dict[str, float | None]:
    """Score each stage of the student on a split; leave it as it was."""
    final = copy_state(student)
    scores: dict[str, float | None] = {}
    for stage, state in stages.items():
        scores[stage] = None
        if state is not None:
            student.load_state_dict(state)
            scores[stage] = planned_run.task.score(student, split)
    student.load_state_dict(final)
    return scores


def predicted_classes(planned_run: PlannedRun, student: nn.Module) -> dict[str, Tensor]:
    """Return the classes that teacher and student give the test images.

    Those of the teacher are the labels where the data have none of their own.
    """
    task, data = planned_run.task, planned_run.task.data
    networks = {"student": student}
    if data.labelled:
        networks["teacher"] = task.teacher.network
    predicted = {role: task.predict(network, data.test) for role, network in networks.items()}
    return {"teacher": data.test.labels, **predicted}


def measure_networks(
    planned_run: PlannedRun, student: nn.Module, given: Mapping[str, Tensor]
) -> tuple[NetworkResult, NetworkResult]:
    """Measure teacher and student, their latencies in turn: of one image, and of a batch."""
    task = planned_run.task
    networks = {"teacher": task.teacher.network, "student": student}
    batches = sorted({1, len(task.images)})
    timed = [latencies(networks, task.images[:batch]) for batch in batches]
    teacher, student_ = (
        NetworkResult(
            name=task.teacher.name if role == "teacher" else f"{task.teacher.name} student",
            **_scored(planned_run, role, given),
            network=network if role == "student" else None,
            parameters=parameters(network),
            macs=macs(network, task.data.image_shape),
            latencies=tuple(by_role[role] for by_role in timed),
            weight_bytes=weight_bytes(network),
        )
        for role, network in networks.items()
    )
    return teacher, student_


def _scored(
    planned_run: PlannedRun, role: str, given: Mapping[str, Tensor]
) -> dict[str, float | None]:
    """Return the accuracy, or, where there are no labels, the student's agreement."""
    data = planned_run.task.data
    score = int((given[role] == data.test.labels).sum()) / len(data.test)
    if data.labelled:
        return {"accuracy": score}
    return {"accuracy": None, "agreement": score if role == "student" else None}


def validation_score(planned_run: PlannedRun, network: nn.Module) -> float:
    """Return a network's score on the validation split."""
    return planned_run.task.score(network, planned_run.task.data.validation)


def copy_state(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a network's parameters and buffers."""
    return copy.deepcopy(network.state_dict())
