"""What a benchmark found: a row per procedure, and the ratios that matter."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pbkd.bench.saving import Saving
    from pbkd.journal import Event

__all__ = ["RATIOS", "BenchResult", "ProcedureResult", "Spread", "gather"]

RATIOS = (
    ("single-pass", "serial"),
    ("pipeline", "single-pass"),
    ("pipeline", "serial"),
    ("pipeline", "paper"),
    ("pipeline", "serial-plain"),
    ("cache", "serial"),
)


@dataclass(frozen=True)
class Spread:
    """The smallest, the median and the largest of a figure over the rounds."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, figures: Iterable[float]) -> Spread:
        """Return the spread of some figures."""
        found = sorted(figures)
        return cls(found[0], statistics.median(found), found[-1])


@dataclass(frozen=True)
class ProcedureResult:
    """One procedure. Seconds, CPU seconds and joules are for 1,000 images.

    `cpu_seconds` are of all workers; `peak_bytes` is the largest resident memory of each worker
    that had work. `predicted_seconds` is None where no prediction is made. `joules_reason` says
    what was not measured, `lost` names the domains of which nothing was. `devices` has the device
    of each domain for which it is known, `in_use` the devices of workers with work, and the CPU.
    """

    name: str
    seconds: Spread
    cpu_seconds: float
    peak_bytes: tuple[int | None, ...]
    predicted_seconds: float | None
    joules: dict[str, float] | None
    joules_reason: str | None
    devices: dict[str, str] = field(default_factory=dict)
    in_use: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class BenchResult:
    """A benchmark: its procedures, how many times faster the first of each pair is, where.

    `savings` are those of energy over `serial`. `checkpoint_seconds` is what one checkpoint of
    every block takes to be kept.
    """

    preset: str
    workers: int
    threads: int
    batch_size: int
    command: str
    procedures: tuple[ProcedureResult, ...]
    speedups: dict[str, Spread]
    checkpoint_seconds: float
    environment: dict[str, str]
    savings: tuple[Saving, ...] = ()


def gather(
    events: Sequence[Event], batch_size: int, predicted: Mapping[str, float]
) -> tuple[tuple[ProcedureResult, ...], dict[str, Spread]]:
    """Turn the workers' `procedure` events into results, and round by round into speed-ups.

    `predicted` holds seconds per step.
    """
    told = [event for event in events if event["event"] == "procedure"]
    names = list(dict.fromkeys(event["name"] for event in told))
    per_step = {name: _seconds_per_step(told, name) for name in names}
    scale = 1000 / batch_size
    procedures = tuple(
        _procedure(
            [event for event in told if event["name"] == name],
            Spread.of(seconds * scale for seconds in per_step[name].values()),
            predicted[name] * scale if name in predicted else None,
            scale,
        )
        for name in names
    )
    return procedures, {
        f"{fast} / {slow}": _speedup(per_step[fast], per_step[slow]) for fast, slow in RATIOS
    }


def _seconds_per_step(told: Sequence[Event], name: str) -> dict[int, float]:
    """Return each round's seconds, as rank 0 measured them from barrier to barrier."""
    return {
        event["round"]: event["seconds"] / event["steps"]
        for event in told
        if event["name"] == name and event["rank"] == 0
    }


def _speedup(fast: Mapping[int, float], slow: Mapping[int, float]) -> Spread:
    """Compare round by round; a procedure that ran in one round only is compared with all."""
    only = next(iter(slow.values()))
    return Spread.of(slow.get(round_, only) / seconds for round_, seconds in fast.items())


def _procedure(
    told: Sequence[Event], seconds: Spread, predicted: float | None, scale: float
) -> ProcedureResult:
    rounds = len({event["round"] for event in told})
    cpu = sum(event["cpu_seconds"] / event["steps"] for event in told) / rounds
    ranks = sorted(
        {event["rank"] for event in told if event["busy_seconds"] > _IDLE * event["seconds"]}
    )
    measured = [event for event in told if event["joules"] is not None]
    joules = _joules(measured, scale)
    return ProcedureResult(
        name=told[0]["name"],
        seconds=seconds,
        cpu_seconds=cpu * scale,
        peak_bytes=tuple(_peak(told, rank) for rank in ranks),
        predicted_seconds=predicted,
        joules=joules or None,
        joules_reason=_joules_reason(told),
        devices={domain: of for event in told for domain, of in event["devices"].items()},
        in_use=tuple(sorted({"cpu", *(e["device"] for e in told if e["rank"] in ranks)})),
        lost=tuple(sorted({domain for e in told for domain in e["lost"]} - joules.keys())),
    )


_IDLE = 0.05  # of the seconds from barrier to barrier: a rank below that only waited


def _peak(told: Sequence[Event], rank: int) -> int | None:
    peaks = [event["peak_bytes"] for event in told if event["rank"] == rank]
    return None if None in peaks else max(peaks)


def _joules(measured: Sequence[Event], scale: float) -> dict[str, float]:
    totals: dict[str, list[float]] = {}
    for event in measured:
        for domain, joules in event["joules"].items():
            totals.setdefault(domain, []).append(joules / event["steps"] * scale)
    return {domain: statistics.median(figures) for domain, figures in totals.items()}


def _joules_reason(told: Sequence[Event]) -> str | None:
    """Return what rank 0, which alone has meters, told, each reason once."""
    reasons = [event["joules_reason"] for event in told if event["rank"] == 0]
    return "; ".join(dict.fromkeys(filter(None, reasons))) or None
