"""The energy that a procedure saves over `serial`: as a share of it, and as the paper counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.bench.result import ProcedureResult

__all__ = ["Saving", "savings"]

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
