"""Size and latency of teacher and student."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.results import NetworkResult
from pbkd.models.engines import latencies_in
from pbkd.models.latency import latencies
from pbkd.models.metrics import macs, parameters, weight_bytes
from pbkd.planning.limits import TORCH, limits_latency, timed_images

if TYPE_CHECKING:
    from torch import nn

    from pbkd.config.schema import TargetConfig
    from pbkd.protocols import Engine
    from pbkd.training.task import DistillationTask


__all__ = ["measure_networks"]


def measure_networks(
    task: DistillationTask, student: nn.Module, target: TargetConfig, engine: Engine
) -> tuple[NetworkResult, NetworkResult]:
    """Measure size and latency of teacher and student, in turn.

    Args:
        task: Teacher and data.
        student: The student.
        target: What it may cost.
        engine: In which a limit of the latency counts.

    Returns:
        The figures of teacher and student, with latencies of one image, of a batch, and of the
        target's batch, and without scores.

    Raises:
        PbkdError: The engine cannot execute one of them.
    """
    networks = {"teacher": task.teacher.network, "student": student}
    wanted = timed_images(task, target)
    batches = {1: task.images[:1], len(task.images): task.images, len(wanted): wanted}
    timed = [latencies(networks, images) for _, images in sorted(batches.items())]
    if limits_latency(target) and engine.name != TORCH:
        timed.append(latencies_in(engine, networks, wanted))
    teacher_result, student_result = (
        NetworkResult(
            name=task.teacher.name if role == "teacher" else f"{task.teacher.name} student",
            accuracy=None,
            network=network if role == "student" else None,
            parameters=parameters(network),
            macs=macs(network, task.data.image_shape),
            latencies=tuple(by_role[role] for by_role in timed),
            weight_bytes=weight_bytes(network),
        )
        for role, network in networks.items()
    )
    return teacher_result, student_result
