"""Size and latency of a teacher and its students."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.results import NetworkResult
from pbkd.models.engines import latencies_in
from pbkd.models.latency import latencies
from pbkd.models.metrics import macs, parameters, weight_bytes
from pbkd.planning.limits import TORCH, limits_latency, timed_images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from pbkd.config.schema import TargetConfig
    from pbkd.protocols import Engine
    from pbkd.training.task import DistillationTask


__all__ = ["measure_networks", "measure_students"]


def measure_networks(
    task: DistillationTask, student: nn.Module, target: TargetConfig, engine: Engine
) -> tuple[NetworkResult, NetworkResult]:
    """Measure size and latency of teacher and student; as `measure_students`, of one."""
    return measure_students(task, {"student": student}, target, engine)["student"]


def measure_students(
    task: DistillationTask, students: Mapping[str, nn.Module], target: TargetConfig, engine: Engine
) -> dict[str, tuple[NetworkResult, NetworkResult]]:
    """Measure size and latency of a teacher and its students, in turn.

    Args:
        task: Teacher and data.
        students: The students, or other networks for the same images, by name.
        target: What one may cost; it has the batch.
        engine: In which a limit of the latency counts.

    Returns:
        The figures of the teacher and of each student, by its name, with latencies of one image, of
        a batch, and of the target's batch, and without scores.

    Raises:
        PbkdError: The engine cannot execute one of them.
    """
    networks = {"": task.teacher.network, **students}
    wanted = timed_images(task, target)
    batches = {1: task.images[:1], len(task.images): task.images, len(wanted): wanted}
    timed = [latencies(networks, images) for _, images in sorted(batches.items())]
    if limits_latency(target) and engine.name != TORCH:
        timed.append(latencies_in(engine, networks, wanted))
    found = {
        name: NetworkResult(
            name=f"{task.teacher.name} student" if name else task.teacher.name,
            accuracy=None,
            network=network if name else None,
            parameters=parameters(network),
            macs=macs(network, task.data.image_shape),
            latencies=tuple(by_name[name] for by_name in timed),
            weight_bytes=weight_bytes(network),
        )
        for name, network in networks.items()
    }
    return {name: (found[""], found[name]) for name in students}
