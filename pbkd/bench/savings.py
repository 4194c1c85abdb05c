"""Energy of each procedure compared with the serial procedure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.bench.result import Saving

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.bench.result import ProcedureResult

__all__ = ["savings"]

_BASELINE = "serial"
_COMPARED = ("paper", "single-pass", "pipeline", "cache")


def savings(procedures: Sequence[ProcedureResult]) -> tuple[Saving, ...]:
    """Compare the energy of every procedure with `serial`, with and without idle devices.

    Only figures of sensors count, no estimates.

    Args:
        procedures: Figures of all procedures, `serial` among them.

    Returns:
        Two comparisons per procedure: all devices, and devices in use.
    """
    by_name = {procedure.name: procedure for procedure in procedures}
    serial = by_name[_BASELINE]
    others = [by_name[name] for name in _COMPARED if name in by_name]
    return tuple(
        saving
        for other in others
        for saving in (_all_devices(serial, other), _devices_in_use(serial, other))
    )


def _all_devices(serial: ProcedureResult, other: ProcedureResult) -> Saving:
    e1, en, reason = _measured(serial), _measured(other), _reason(serial, other)
    missing = {*serial.lost, *other.lost, *(e1.keys() ^ en.keys())}
    if missing:
        reason = f"{', '.join(sorted(missing))}: not measured in both ({reason})"
        e1, en = {}, {}
    return _saving(other.name, "all devices", e1, en, reason)


def _devices_in_use(serial: ProcedureResult, other: ProcedureResult) -> Saving:
    counted = "devices in use"
    used = []
    for procedure in (serial, other):
        joules = _measured(procedure)
        unknown = [domain for domain in joules if domain not in procedure.devices]
        if unknown:
            reason = f"the device of {', '.join(unknown)} is not known"
            return _saving(other.name, counted, {}, {}, reason)
        busy = {d for d, device in procedure.devices.items() if device in procedure.in_use}
        if busy - joules.keys():
            missing = ", ".join(sorted(busy - joules.keys()))
            reason = f"{missing}: not measured in {procedure.name} ({procedure.joules_reason})"
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
        return Saving(
            procedure=name,
            counted=counted,
            e1_joules=None,
            en_joules=None,
            share=None,
            papers=None,
            reason=reason or "no sensor of such a device",
        )
    return Saving(
        procedure=name,
        counted=counted,
        e1_joules=e1,
        en_joules=en,
        share=(e1 - en) / e1,
        papers=e1 / en - 1,
        reason=reason,
    )


def _measured(procedure: ProcedureResult) -> dict[str, float]:
    """Return the joules of sensors, without estimates, which have `estimate` in their names."""
    return {d: joules for d, joules in (procedure.joules or {}).items() if "estimate" not in d}


def _reason(*procedures: ProcedureResult) -> str | None:
    reasons = dict.fromkeys(p.joules_reason for p in procedures if p.joules_reason)
    return "; ".join(reasons) or None
