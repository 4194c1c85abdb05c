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
_MOST_DIGITS = 6


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
        "speedup": (speedup, 2, f"is {{}} times as fast as the teacher {at_batch}"),
        "latency_ms": (milliseconds, 2, f"takes {{}} ms {at_batch}"),
        "macs": (mac_share, 3, "has {} of the teacher's MACs"),
        "parameters": (share, 3, "has {} of the teacher's parameters"),
        "bytes": (size, 0, "has {} bytes of weights"),
    }
    wishes = []
    for key, (reached, digits, what) in figures.items():
        wanted = getattr(target, key)
        if wanted is None:
            continue
        excess = wanted / reached if key == "speedup" else reached / wanted
        is_met = excess <= 1 + _ROUNDING
        text = what.format(_number(reached, wanted, digits, is_met=is_met))
        wishes.append(Wish(f"target.{key}", wanted, reached, is_met, text))
    return tuple(wishes)


def _number(reached: float, wanted: float, digits: int, *, is_met: bool) -> str:
    """Format a figure, with more digits where it would look like what was wanted but is not."""
    while not is_met and digits < _MOST_DIGITS and round(reached, digits) == round(wanted, digits):
        digits += 1
    return f"{reached:,.{digits}f}"


def _latency(network: NetworkResult, batch: int, engine: str) -> Latency:
    return next(each for each in network.latencies if (each.batch, each.engine) == (batch, engine))
