"""Limits of a target on the cost of the student, and what each option of a block costs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pbkd.core.blocks import candidate_of
from pbkd.models.latency import latencies
from pbkd.models.metrics import macs, parameters, weight_bytes
from pbkd.protocols import BlockOption

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from pbkd.config.schema import TargetConfig
    from pbkd.planning.plan import Candidates, PlannedBlock
    from pbkd.training.task import DistillationTask


__all__ = [
    "TORCH",
    "block_limits",
    "block_options",
    "engine_name",
    "forward_seconds",
    "is_limited",
    "latency_limit",
    "likely_targets",
    "limits_latency",
    "limits_loss_alone",
    "point_targets",
    "seeks_cheapest",
    "timed_images",
]

_SHARES = ("macs", "parameters")
_LIKELY = 0.15, 0.25, 0.4, 0.6  # of the MACs, where they follow from what the student loses
TORCH = "torch"
"""The engine in which blocks are timed, and latencies that no target limits."""


def is_limited(target: TargetConfig) -> bool:
    """Return whether a target limits the cost of the student."""
    limits = target.macs, target.parameters, target.bytes, target.curve
    return limits_latency(target) or any(limit is not None for limit in limits)


def limits_loss_alone(target: TargetConfig) -> bool:
    """Return whether a target limits what the student loses, but not its cost."""
    return target.max_drop is not None and not is_limited(target)


def seeks_cheapest(target: TargetConfig, plan: Candidates) -> bool:
    """Return whether the cost follows from what the student may lose, among several sizes."""
    blocks = {planned.block.name for planned in plan.trained}
    return limits_loss_alone(target) and len(plan.trained) > len(blocks)


def point_targets(target: TargetConfig) -> dict[str, TargetConfig]:
    """Return the target of each point of a curve, by its name, the largest student first.

    The name is the share of the MACs. A target without a curve is a single point without a name.
    """
    if target.curve is None:
        return {"": target}
    shares = sorted(target.curve, reverse=True)
    return {f"{share:g}": replace(target, curve=None, macs=share) for share in shares}


def likely_targets(target: TargetConfig) -> list[TargetConfig]:
    """Return the targets on cost whose students may be tried: several if the loss alone counts."""
    if limits_loss_alone(target):
        return [replace(target, macs=share) for share in _LIKELY]
    return [*point_targets(target).values()]


def limits_latency(target: TargetConfig) -> bool:
    """Return whether a target limits the student's latency."""
    return target.latency_ms is not None or target.speedup is not None


def engine_name(target: TargetConfig) -> str:
    """Return the name of the engine in which a target limits latency."""
    return str(target.engine["name"]) if limits_latency(target) else TORCH


def latency_limit(target: TargetConfig, teacher_seconds: float) -> float:
    """Return the maximum seconds of a forward pass of the student.

    Args:
        target: The target, which limits latency.
        teacher_seconds: The teacher's seconds.
    """
    limits = []
    if target.latency_ms is not None:
        limits.append(target.latency_ms / 1000)
    if target.speedup is not None:
        limits.append(teacher_seconds / target.speedup)
    return min(limits)


def timed_images(task: DistillationTask, target: TargetConfig) -> Tensor:
    """Return the batch whose latency a target limits: (target.batch, C, H, W)."""
    images = task.images
    count = target.batch or len(images)
    return images[torch.arange(count, device=images.device) % len(images)]


def forward_seconds(
    task: DistillationTask, replacements: Mapping[str, nn.Module], images: Tensor
) -> tuple[dict[str, tuple[float, float]], float]:
    """Measure the forward passes of candidates.

    Blocks and candidates run in turn, in float32.

    Args:
        task: The teacher's chain.
        replacements: The replacement of each candidate, by candidate name.
        images: The batch, normalised.

    Returns:
        For each candidate, the seconds of the teacher's segment and of the replacement; and the
        seconds of all segments without candidates together.
    """
    seconds: dict[str, tuple[float, float]] = {}
    others = 0.0
    x = images
    for block, segment in task.chain.named_children():
        names = [name for name in replacements if candidate_of(name)[0] == block]
        networks = {"": segment, **{name: replacements[name] for name in names}}
        timed = latencies(networks, x)
        before = timed[""].median_seconds
        seconds |= {name: (before, timed[name].median_seconds) for name in names}
        others += 0.0 if names else before
        with torch.no_grad():
            x = segment(x)
    return seconds, others


def block_limits(
    target: TargetConfig, task: DistillationTask, plan: Candidates
) -> dict[str, float]:
    """Return the limit of each limited quantity for the blocks with candidates together.

    Args:
        target: The target.
        task: The teacher, to whose MACs and parameters the target's are relative.
        plan: All candidates with their costs.

    Returns:
        Limits of `macs`, `parameters`, `bytes` and `latency_ms`.
    """
    network = task.teacher.network
    blocks = {planned.block.name: planned for planned in plan.trained}.values()
    whole = {
        "macs": macs(network, task.data.image_shape) if target.macs is not None else 0,
        "parameters": parameters(network),
        "bytes": weight_bytes(network),
    }
    wanted = {key: getattr(target, key) for key in whole if getattr(target, key) is not None}
    limits = {}
    for key, limit in wanted.items():
        most = limit * whole[key] if key in _SHARES else limit
        limits[key] = most - whole[key] + sum(_costs(p, after=False)[key] for p in blocks)
    if plan.latency is not None:
        most = latency_limit(target, plan.latency.teacher_seconds) / plan.latency.factor
        limits["latency_ms"] = 1000 * (most - (plan.other_seconds or 0.0))
    return limits


def block_options(plan: Candidates, harms: Mapping[str, float]) -> dict[str, list[BlockOption]]:
    """Return the options of each block: the teacher's segment, and the candidates with a harm.

    Args:
        plan: All candidates with their costs.
        harms: The harm of each candidate that may be chosen.
    """
    options: dict[str, list[BlockOption]] = {}
    for p in plan.trained:
        block = options.setdefault(p.block.name, [BlockOption(None, 0.0, _costs(p, after=False))])
        if p.name in harms:
            block.append(BlockOption(p.name, harms[p.name], _costs(p, after=True)))
    return options


def _costs(p: PlannedBlock, *, after: bool) -> dict[str, float]:
    seconds = p.seconds_after if after else p.seconds_before
    return {
        "macs": p.macs_after if after else p.macs_before,
        "parameters": p.parameters_after if after else p.parameters_before,
        "bytes": p.bytes_after if after else p.bytes_before,
        "latency_ms": 1000 * (seconds or 0.0),
    }
