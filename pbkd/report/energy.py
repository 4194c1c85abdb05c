"""The energy of a run: table rows, caption and notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pbkd.core.energy_results import DomainEnergy, EnergyResult, EnergySum

__all__ = ["ENERGY_HEADS", "energy_caption", "energy_notes", "energy_rows"]

ENERGY_HEADS = ("energy of the run", "device", "idle watts", "joules", "joules above idle")

_UNKNOWN = "not measured"


def energy_rows(energy: EnergyResult | None) -> list[tuple[str, ...]]:
    """Return the rows for `ENERGY_HEADS`: domains, both sums, workers; none without a domain."""
    if energy is None or not energy.domains:
        return []
    rows = [_domain(domain) for domain in energy.domains]
    if energy.all_devices.domains:
        rows.append(_sum("all devices", energy.all_devices))
        rows.append(_sum("devices in use", energy.in_use))
    rows += [
        (f"worker {worker.rank}, {phase}", worker.device, "", f"{joules:.1f}", "")
        for worker in energy.workers
        for phase, joules in (worker.joules or {}).items()
    ]
    return rows


def energy_caption(energy: EnergyResult | None) -> str:
    """Explain the columns of the table."""
    rested = energy.idle_seconds if energy else None
    how = _UNKNOWN if rested is None else f"measured for {rested:.1f} s before the run"
    return (
        f"Idle power was {how}. Joules include it, joules above idle do not. Devices in use are"
        " the CPU and the devices that did work."
    )


def energy_notes(energy: EnergyResult | None) -> list[str]:
    """Return sentences about estimates and missing figures."""
    if energy is None or not energy.domains:
        return []
    estimates = [
        f"'{domain.name}' is an estimate, not a measurement: {domain.estimate}."
        for domain in energy.domains
        if domain.estimate
    ]
    missing: dict[str, list[str]] = {}
    for what, reason in _missing(energy):
        missing.setdefault(reason, []).append(what)
    return [
        *estimates,
        *(f"Energy of {', '.join(names)}: {reason}." for reason, names in missing.items()),
    ]


def _missing(energy: EnergyResult) -> Iterator[tuple[str, str]]:
    """Yield each missing figure with its reason; a sum only if no domain in it has one."""
    for domain in energy.domains:
        if domain.reason:
            yield domain.name, domain.reason
    in_use = energy.in_use
    if in_use.joules is None and in_use.reason and energy.all_devices.joules is not None:
        yield "devices in use", in_use.reason
    for worker in energy.workers:
        if worker.reason:
            yield f"worker {worker.rank}", worker.reason


def _domain(domain: DomainEnergy) -> tuple[str, ...]:
    figures = (domain.idle_watts, domain.joules, domain.above_idle)
    if domain.estimate:
        name = f"{domain.name} (an estimate)"
        return name, domain.device or "", "", _written(domain.joules), ""
    return domain.name, domain.device or "not known", *map(_written, figures)


def _sum(name: str, energy: EnergySum) -> tuple[str, ...]:
    of = " + ".join(energy.domains)
    return f"{name}: {of}", "", "", _written(energy.joules), _written(energy.above_idle)


def _written(figure: float | None) -> str:
    return _UNKNOWN if figure is None else f"{figure:.1f}"
