"""Energy of a time window: differences between the readings at its two ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.protocols import EnergyReading

    MeterSamples = tuple[str, EnergyReading | str, EnergyReading | str]


__all__ = ["Domain", "WindowEnergy", "add_windows", "window_energy"]


@dataclass(frozen=True)
class Domain:
    """Where the figures of a domain, such as `gpu0`, come from.

    Attributes:
        meter: Name of the meter.
        device: The device, as torch names it, if known.
        estimate: How the joules are estimated, if no sensor measures them.
    """

    meter: str
    device: str | None = None
    estimate: str | None = None


@dataclass(frozen=True, kw_only=True)
class WindowEnergy:
    """The energy of a window, as far as it was measured.

    Attributes:
        seconds: Length of the window.
        joules: Joules by domain; None if nothing was measured.
        reason: Every missing meter and domain, with the cause; None if nothing is missing.
        meters: Names of the meters that `joules` comes from.
        domains: Origin of each domain of `joules` and of `lost`.
        lost: The cause by domain without joules.
        absent: The cause by meter without any domain.
    """

    seconds: float
    joules: Mapping[str, float] | None
    reason: str | None
    meters: tuple[str, ...] = ()
    domains: Mapping[str, Domain] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


def window_energy(seconds: float, samples: Sequence[MeterSamples]) -> WindowEnergy:
    """Calculate the energy of a window.

    Args:
        seconds: Length of the window.
        samples: For each meter its name, and what it read at the beginning and at the end: a
            reading, or the reason why there is none. If several meters measure a domain, the first
            one counts.
    """
    joules: dict[str, float] = {}
    domains: dict[str, Domain] = {}
    lost: dict[str, str] = {}
    absent: dict[str, str] = {}
    reasons: list[str] = []
    for meter, begin, end in samples:
        if isinstance(begin, str) or isinstance(end, str):
            absent[meter] = begin if isinstance(begin, str) else str(end)
            reasons.append(f"{meter}: {absent[meter]}")
            continue
        used, unusable = _differences(begin, end)
        duplicate = {d: f"already measured by {domains[d].meter}" for d in used if d in joules}
        reasons += [f"{meter} {d}: {why}" for d, why in {**unusable, **duplicate}.items()]
        new = [domain for domain in (*used, *unusable) if domain not in joules]
        domains |= {domain: _origin(meter, begin, end, domain) for domain in new}
        joules |= {domain: value for domain, value in used.items() if domain not in duplicate}
        lost |= unusable
    return WindowEnergy(
        seconds=seconds,
        joules=joules or None,
        reason="; ".join(reasons if samples else ["no energy meter is chosen"]) or None,
        meters=tuple(dict.fromkeys(domains[domain].meter for domain in joules)),
        domains=domains,
        lost={domain: reason for domain, reason in lost.items() if domain not in joules},
        absent=absent,
    )


def add_windows(one: WindowEnergy, other: WindowEnergy) -> WindowEnergy:
    """Add up two windows; a domain that one of them lacks is lost."""
    joules = {
        domain: value + (other.joules or {})[domain]
        for domain, value in (one.joules or {}).items()
        if domain in (other.joules or {})
    }
    lost = {**one.lost, **other.lost}
    for window in (one, other):
        missing = [domain for domain in window.domains if domain not in joules]
        lost |= {domain: lost.get(domain, "it was not always measured") for domain in missing}
    reasons = dict.fromkeys(each.reason for each in (one, other) if each.reason)
    domains = {**other.domains, **one.domains}
    return WindowEnergy(
        seconds=one.seconds + other.seconds,
        joules=joules or None,
        reason="; ".join(reasons) or None,
        meters=tuple(dict.fromkeys(domains[domain].meter for domain in joules)),
        domains=domains,
        lost=lost,
        absent={**one.absent, **other.absent},
    )


def _origin(meter: str, begin: EnergyReading, end: EnergyReading, domain: str) -> Domain:
    devices, estimates = {**begin.devices, **end.devices}, {**begin.estimates, **end.estimates}
    return Domain(meter, devices.get(domain), estimates.get(domain))


def _differences(
    begin: EnergyReading, end: EnergyReading
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the joules by domain between two readings, and the reason by domain without."""
    used: dict[str, float] = {}
    reasons = {**end.lost, **begin.lost}
    for domain in [*begin.joules, *(d for d in end.joules if d not in begin.joules)]:
        if domain in reasons:
            continue
        difference = end.joules.get(domain, math.nan) - begin.joules.get(domain, math.nan)
        if difference > 0 and math.isfinite(difference):
            used[domain] = difference
        elif difference == 0:
            # Every device that is switched on uses energy: this sensor is stuck or too slow.
            reasons[domain] = "its counter did not move"
        else:
            reasons[domain] = "its counter ran backwards, or was not there all the time"
    return used, reasons
