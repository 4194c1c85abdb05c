"""Evaluation of the events that the ranks of a benchmark record."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from pbkd.bench.result import ProcedureResult, Spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.core.events import Event

__all__ = ["RATIOS", "gather"]

RATIOS = (
    ("single-pass", "serial"),
    ("pipeline", "single-pass"),
    ("pipeline", "serial"),
    ("pipeline", "paper"),
    ("pipeline", "serial-plain"),
    ("cache", "serial"),
)
"""Pairs of procedures whose speed-up, first over second, is reported."""

_IDLE = 0.05  # busy fraction below which a rank had no work


def gather(
    events: Sequence[Event], batch_size: int, predicted: Mapping[str, float]
) -> tuple[tuple[ProcedureResult, ...], dict[str, Spread]]:
    """Compute the figures of every procedure, and the speed-ups, from the ranks' events.

    Args:
        events: The events of all ranks; only `procedure` events count.
        batch_size: Images per step.
        predicted: Predicted seconds per step of each procedure.

    Returns:
        The procedures in the order in which they ran, and the speed-ups of `RATIOS`.
    """
    timings = [event for event in events if event["event"] == "procedure"]
    names = list(dict.fromkeys(event["name"] for event in timings))
    per_step = {name: _seconds_per_step(timings, name) for name in names}
    scale = 1000 / batch_size
    procedures = tuple(
        _procedure(
            [event for event in timings if event["name"] == name],
            Spread.of(seconds * scale for seconds in per_step[name].values()),
            predicted[name] * scale if name in predicted else None,
            scale,
        )
        for name in names
    )
    return procedures, {
        f"{fast} / {slow}": _speedup(per_step[fast], per_step[slow]) for fast, slow in RATIOS
    }


def _seconds_per_step(timings: Sequence[Event], name: str) -> dict[int, float]:
    """Return the seconds per step of each round, between the barriers of rank 0."""
    return {
        event["round"]: event["seconds"] / event["steps"]
        for event in timings
        if event["name"] == name and event["rank"] == 0
    }


def _speedup(fast: Mapping[int, float], slow: Mapping[int, float]) -> Spread:
    """Compare round by round; a procedure that ran in a single round is compared with all."""
    single = next(iter(slow.values()))
    return Spread.of(slow.get(round_, single) / seconds for round_, seconds in fast.items())


def _procedure(
    timings: Sequence[Event], seconds: Spread, predicted: float | None, scale: float
) -> ProcedureResult:
    rounds = len({event["round"] for event in timings})
    cpu = sum(event["cpu_seconds"] / event["steps"] for event in timings) / rounds
    ranks = sorted(
        {event["rank"] for event in timings if event["busy_seconds"] > _IDLE * event["seconds"]}
    )
    measured = [event for event in timings if event["joules"] is not None]
    joules = _joules(measured, scale)
    return ProcedureResult(
        name=timings[0]["name"],
        seconds=seconds,
        cpu_seconds=cpu * scale,
        peak_bytes=tuple(_peak(timings, rank) for rank in ranks),
        predicted_seconds=predicted,
        joules=joules or None,
        joules_reason=_joules_reason(timings),
        devices={
            domain: device for event in timings for domain, device in event["devices"].items()
        },
        in_use=tuple(sorted({"cpu", *(e["device"] for e in timings if e["rank"] in ranks)})),
        lost=tuple(sorted({domain for e in timings for domain in e["lost"]} - joules.keys())),
    )


def _peak(timings: Sequence[Event], rank: int) -> int | None:
    peaks = [event["peak_bytes"] for event in timings if event["rank"] == rank]
    return None if None in peaks else max(peaks)


def _joules(measured: Sequence[Event], scale: float) -> dict[str, float]:
    totals: dict[str, list[float]] = {}
    for event in measured:
        for domain, joules in event["joules"].items():
            totals.setdefault(domain, []).append(joules / event["steps"] * scale)
    return {domain: statistics.median(figures) for domain, figures in totals.items()}


def _joules_reason(timings: Sequence[Event]) -> str | None:
    """Return the distinct reasons of rank 0, the only rank with meters."""
    reasons = [event["joules_reason"] for event in timings if event["rank"] == 0]
    return "; ".join(dict.fromkeys(filter(None, reasons))) or None
