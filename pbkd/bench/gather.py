"""Evaluation of the measurements that the ranks of a benchmark record."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, TypeAlias

from pbkd.bench.result import ProcedureResult, Spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Measurement: TypeAlias = Mapping[str, Any]

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
    measurements: Sequence[Measurement], batch_size: int, predicted: Mapping[str, float]
) -> tuple[tuple[ProcedureResult, ...], dict[str, Spread]]:
    """Compute the figures of every procedure, and the speed-ups, from the ranks' measurements.

    Args:
        measurements: The measurements of all ranks; only the kind `procedure` counts.
        batch_size: Images per step.
        predicted: Predicted seconds per step of each procedure.

    Returns:
        The procedures in the order in which they ran, and the speed-ups of `RATIOS`.
    """
    timings = [each for each in measurements if each["kind"] == "procedure"]
    names = list(dict.fromkeys(each["name"] for each in timings))
    per_step = {name: _seconds_per_step(timings, name) for name in names}
    scale = 1000 / batch_size
    procedures = tuple(
        _procedure(
            [each for each in timings if each["name"] == name],
            Spread.of(seconds * scale for seconds in per_step[name].values()),
            predicted[name] * scale if name in predicted else None,
            scale,
        )
        for name in names
    )
    return procedures, {
        f"{fast} / {slow}": _speedup(per_step[fast], per_step[slow])
        for fast, slow in RATIOS
        if fast in per_step and slow in per_step
    }


def _seconds_per_step(timings: Sequence[Measurement], name: str) -> dict[int, float]:
    """Return the seconds per step of each round, between the barriers of rank 0."""
    return {
        each["round"]: each["seconds"] / each["steps"]
        for each in timings
        if each["name"] == name and each["rank"] == 0
    }


def _speedup(fast: Mapping[int, float], slow: Mapping[int, float]) -> Spread:
    """Compare round by round; a procedure that ran in a single round is compared with all."""
    single = next(iter(slow.values()))
    return Spread.of(slow.get(round_, single) / seconds for round_, seconds in fast.items())


def _procedure(
    timings: Sequence[Measurement], seconds: Spread, predicted: float | None, scale: float
) -> ProcedureResult:
    rounds = len({each["round"] for each in timings})
    cpu = sum(each["cpu_seconds"] / each["steps"] for each in timings) / rounds
    ranks = sorted(
        {each["rank"] for each in timings if each["busy_seconds"] > _IDLE * each["seconds"]}
    )
    measured = [each for each in timings if each["joules"] is not None]
    joules = _joules(measured, scale)
    return ProcedureResult(
        name=timings[0]["name"],
        seconds=seconds,
        cpu_seconds=cpu * scale,
        peak_bytes=tuple(_peak(timings, rank) for rank in ranks),
        predicted_seconds=predicted,
        joules=joules or None,
        joules_reason=_joules_reason(timings),
        devices={domain: device for each in timings for domain, device in each["devices"].items()},
        in_use=tuple(sorted({"cpu", *(e["device"] for e in timings if e["rank"] in ranks)})),
        lost=tuple(sorted({domain for e in timings for domain in e["lost"]} - joules.keys())),
    )


def _peak(timings: Sequence[Measurement], rank: int) -> int | None:
    peaks = [each["peak_bytes"] for each in timings if each["rank"] == rank]
    return None if None in peaks else max(peaks)


def _joules(measured: Sequence[Measurement], scale: float) -> dict[str, float]:
    totals: dict[str, list[float]] = {}
    for each in measured:
        for domain, joules in each["joules"].items():
            totals.setdefault(domain, []).append(joules / each["steps"] * scale)
    return {domain: statistics.median(figures) for domain, figures in totals.items()}


def _joules_reason(timings: Sequence[Measurement]) -> str | None:
    """Return the distinct reasons of rank 0, the only rank with meters."""
    reasons = [each["joules_reason"] for each in timings if each["rank"] == 0]
    return "; ".join(dict.fromkeys(filter(None, reasons))) or None
