"""Size and latency of a curve's students, and ready networks beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pbkd.core.curves import READY, CurvePoint
from pbkd.models.accuracy import predict_classes, share_correct
from pbkd.models.metrics import macs
from pbkd.pipeline.baselines.ready import zoo_networks
from pbkd.pipeline.network_figures import measure_students
from pbkd.report.scores import share_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from pbkd.core.results import NetworkResult
    from pbkd.models.teacher import Teacher
    from pbkd.pipeline.context import RunContext
    from pbkd.training.task import DistillationTask


__all__ = ["measure_curve"]


def measure_curve(
    ctx: RunContext, students: Mapping[str, nn.Module]
) -> tuple[dict[str, tuple[NetworkResult, NetworkResult]], list[CurvePoint]]:
    """Measure the students of a curve in turn, and ready networks among them.

    Args:
        ctx: The curve.
        students: The students, by point.

    Returns:
        The figures of teacher and student, by point, and the ready networks.
    """
    task, target = ctx.task, ctx.planned.config.target
    ready = {f"ready {one.name}": one for one in _ready(ctx, students)}
    with ctx.observers.paused():
        networks = {**students, **{name: one.network for name, one in ready.items()}}
        figures = measure_students(task, networks, target, ctx.planned.tools.engine)
    points = [_ready_point(task, one, figures[name][1]) for name, one in ready.items()]
    return figures, [point for point in points if point is not None]


def _ready(ctx: RunContext, students: Mapping[str, nn.Module]) -> list[Teacher]:
    """Return the networks of the zoo that are as small as the largest student."""
    if not students or not ctx.task.data.labelled:
        return []
    most = max(macs(each, ctx.task.data.image_shape) for each in students.values())
    return [*zoo_networks(ctx.registry, ctx.task, most)]


def _ready_point(
    task: DistillationTask, ready: Teacher, figures: NetworkResult
) -> CurvePoint | None:
    """Score a ready network; None for one that was evidently trained on other classes."""
    test = task.data.test
    classes = predict_classes(ready.network, test, ready.normalization, device=task.device)
    accuracy = share_correct(classes, test)
    if accuracy < share_correct(task.teacher_classes, test) / 2:
        return None
    network = replace(
        figures,
        name=ready.name,
        network=None,
        accuracy=accuracy,
        interval=share_interval(accuracy, len(test)),
    )
    return CurvePoint(name=ready.name, kind=READY, network=network)
