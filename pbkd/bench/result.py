"""What a benchmark found: a row per procedure, and the ratios that matter."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pbkd.core.events import Event


__all__ = ["RATIOS", "BenchResult", "ProcedureResult", "Saving", "Spread", "gather", "savings"]

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


_AGAINST = "serial"
_COMPARED = ("paper", "single-pass", "pipeline", "cache")


@dataclass(frozen=True)
class Saving:
    """Energy of a procedure, EN, against that of `serial` on one worker, E1, for 1,000 images.

    `counted` is `all devices`, idle ones included, or `devices in use`: those of workers with work,
    and the CPU. `share` is (E1 - EN) / E1, the part of E1 that is saved, and `papers` is
    E1 / EN - 1, the figure that the paper gives; both are None where `reason` says why. With
    figures, `reason` says what is not in them.
    """

    procedure: str
    counted: str
    e1_joules: float | None
    en_joules: float | None
    share: float | None
    papers: float | None
    reason: str | None


def savings(procedures: Sequence[ProcedureResult]) -> tuple[Saving, ...]:
    """Compare every procedure with `serial`, with idle devices and without."""
    by_name = {procedure.name: procedure for procedure in procedures}
    serial = by_name[_AGAINST]
    others = [by_name[name] for name in _COMPARED if name in by_name]
    return tuple(
        saving for other in others for saving in (_all(serial, other), _in_use(serial, other))
    )


def _all(serial: ProcedureResult, other: ProcedureResult) -> Saving:
    e1, en, reason = _measured(serial), _measured(other), _reason(serial, other)
    gone = {*serial.lost, *other.lost, *(e1.keys() ^ en.keys())}
    if gone:
        reason = f"{', '.join(sorted(gone))}: not measured in both ({reason})"
        e1, en = {}, {}
    return _saving(other.name, "all devices", e1, en, reason)


def _in_use(serial: ProcedureResult, other: ProcedureResult) -> Saving:
    counted = "devices in use"
    used = []
    for procedure in (serial, other):
        joules = _measured(procedure)
        unknown = [domain for domain in joules if domain not in procedure.devices]
        if unknown:
            reason = f"it is not known which device {', '.join(unknown)} is"
            return _saving(other.name, counted, {}, {}, reason)
        busy = {d for d, device in procedure.devices.items() if device in procedure.in_use}
        if busy - joules.keys():
            gone = ", ".join(sorted(busy - joules.keys()))
            reason = f"{gone}: not measured in {procedure.name} ({procedure.joules_reason})"
            return _saving(other.name, counted, {}, {}, reason)
        used.append({domain: joules[domain] for domain in busy})
    return _saving(other.name, counted, used[0], used[1], _reason(serial, other))


def _saving(
    name: str,
    counted: str,
    e1_by_domain: Mapping[str, float],
    en_by_domain: Mapping[str, float],
    reason: str | None,
) -> Saving:
    e1, en = sum(e1_by_domain.values()), sum(en_by_domain.values())
    if not e1 or not en:
        return Saving(name, counted, None, None, None, None, reason or "no sensor of such a device")
    return Saving(name, counted, e1, en, (e1 - en) / e1, e1 / en - 1, reason)


def _measured(procedure: ProcedureResult) -> dict[str, float]:
    """Return the joules of sensors; estimates, which say so in their names, are none."""
    return {d: joules for d, joules in (procedure.joules or {}).items() if "estimate" not in d}


def _reason(*procedures: ProcedureResult) -> str | None:
    reasons = dict.fromkeys(p.joules_reason for p in procedures if p.joules_reason)
    return "; ".join(reasons) or None
