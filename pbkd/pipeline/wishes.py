"""What a target asks of the cost of the student, beside what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.wishes import Wish
from pbkd.planning.limits import TORCH, engine_name

if TYPE_CHECKING:
    from pbkd.config.schema import TargetConfig
    from pbkd.core.results import Latency, NetworkResult


__all__ = ["cost_wishes"]

_ROUNDING = 1e-9


def cost_wishes(
    target: TargetConfig, teacher: NetworkResult, student: NetworkResult, batch: int
) -> tuple[Wish, ...]:
    """Compare the cost of a student with the limits of a target.

    Args:
        target: The target.
        teacher: The teacher's figures.
        student: The student's figures.
        batch: Images of the batch whose latency the target limits.

    Returns:
        A wish for each limit.
    """
    engine = engine_name(target)
    theirs, its = (_latency(network, batch, engine) for network in (teacher, student))
    speedup = theirs.median_seconds / its.median_seconds
    milliseconds = 1000 * its.median_seconds
    size = student.weight_bytes or 0
    mac_share, share = student.macs / teacher.macs, student.parameters / teacher.parameters
    at_batch = f"for a batch of {batch}" + ("" if engine == TORCH else f" in {engine}")
    figures = {
        "speedup": (speedup, f"is {speedup:.2f} times as fast as the teacher {at_batch}"),
        "latency_ms": (milliseconds, f"takes {milliseconds:.2f} ms {at_batch}"),
        "macs": (mac_share, f"has {mac_share:.3f} of the teacher's MACs"),
        "parameters": (share, f"has {share:.3f} of the teacher's parameters"),
        "bytes": (size, f"has {size:,} bytes of weights"),
    }
    wishes = []
    for key, (reached, what) in figures.items():
        wanted = getattr(target, key)
        if wanted is None:
            continue
        excess = wanted / reached if key == "speedup" else reached / wanted
        wishes.append(Wish(f"target.{key}", wanted, reached, excess <= 1 + _ROUNDING, what))
    return tuple(wishes)


def _latency(network: NetworkResult, batch: int, engine: str) -> Latency:
    return next(each for each in network.latencies if (each.batch, each.engine) == (batch, engine))
