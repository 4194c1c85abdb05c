"""Energy accounting: the energy of a whole run, from the windows in which it was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.energy_results import DomainEnergy, EnergyResult, EnergySum, WorkerEnergy
from pbkd.energy.monitor import IDLE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pbkd.core.schedule import Schedule, Worker
    from pbkd.energy.window import Domain, WindowEnergy


__all__ = ["RUN", "account_energy", "devices_in_use"]

RUN = "run"
"""Name of the window around all phases of a run."""
_BLOCKWISE_PHASES = ("teacher-fed", "student-fed")


def devices_in_use(schedule: Schedule, workers: Sequence[Worker], host: str) -> set[str]:
    """List the devices on which a run computes.

    Args:
        schedule: The run's schedule.
        workers: Its workers; those without a job do not count.
        host: The device on which the host process scores and fine-tunes.

    Returns:
        Names of devices, as torch writes them; `cpu` is always one of them.
    """
    busy = {
        worker.device
        for worker, jobs in zip(workers, schedule.assigned, strict=True)
        if jobs or schedule.shared
    }
    return {_with_index(device) for device in (*busy, host, "cpu")}


def _with_index(device: str) -> str:
    """Name the first accelerator by its index if a name has none: `cuda` is `cuda:0`."""
    return device if device == "cpu" or ":" in device else f"{device}:0"


def account_energy(
    windows: Mapping[str, WindowEnergy],
    workers: Sequence[Worker],
    in_use: Collection[str],
    *,
    resumed: bool = False,
) -> EnergyResult:
    """Attribute the energy of a run to domains, devices and workers.

    Args:
        windows: The measured windows: `run`, `idle` if there was a sensor, and each phase.
        workers: The run's workers.
        in_use: Devices on which the run computed, see `devices_in_use`.
        resumed: Whether the run was resumed: only its last part was measured then, so there are no
            figures for the whole run.
    """
    whole, idle = windows[RUN], windows.get(IDLE)
    origins: dict[str, Domain] = {}
    for window in windows.values():
        origins |= window.domains
    domains = tuple(
        _domain_energy(name, origin, whole, idle, resumed=resumed)
        for name, origin in origins.items()
    )
    measured = [domain for domain in domains if domain.estimate is None]
    absent = {meter: why for meter, why in whole.absent.items() if not _provides(meter, measured)}
    excluded = "; ".join(f"not in it, {meter}: {why}" for meter, why in absent.items())
    if_none = whole.reason or "there are only estimates"
    return EnergyResult(
        domains=domains,
        all_devices=_sum(measured, if_none, excluded),
        in_use=_sum_in_use(measured, in_use, if_none, excluded),
        workers=tuple(_worker_energy(worker, workers, origins, windows) for worker in workers),
        idle_seconds=idle.seconds if idle else None,
    )


def _domain_energy(
    name: str, origin: Domain, whole: WindowEnergy, idle: WindowEnergy | None, *, resumed: bool
) -> DomainEnergy:
    reasons = []
    joules = (whole.joules or {}).get(name)
    if joules is None:
        reasons.append(_why_missing(name, origin, whole))
    elif resumed:
        joules = None
        reasons.append("the run was resumed, and only the rest of it was measured")
    idle_joules = (idle.joules or {}).get(name) if idle else None
    watts = idle_joules / idle.seconds if idle and idle_joules is not None else None
    if watts is None and not origin.estimate:
        why = _why_missing(name, origin, idle) if idle else "there was no sensor before the run"
        reasons += [] if why in reasons else [f"idle power: {why}"]
    return DomainEnergy(
        name=name,
        meter=origin.meter,
        device=origin.device,
        estimate=origin.estimate,
        idle_watts=watts,
        joules=joules,
        above_idle=None if joules is None or watts is None else joules - watts * whole.seconds,
        reason="; ".join(reasons) or None,
    )


def _why_missing(name: str, origin: Domain, window: WindowEnergy) -> str:
    return window.lost.get(name) or window.absent.get(origin.meter) or "it was not measured"


def _provides(meter: str, domains: Sequence[DomainEnergy]) -> bool:
    return any(domain.meter == meter for domain in domains)


def _sum(domains: Sequence[DomainEnergy], if_none: str, excluded: str) -> EnergySum:
    """Add up domains; if one of them has no figure, neither has the sum."""
    joules = _total(domains, lambda domain: domain.joules)
    above_idle = _total(domains, lambda domain: domain.above_idle)
    missing = [f"{domain.name}: {domain.reason}" for domain in domains if domain.reason]
    reason = "; ".join(filter(None, [*missing, excluded])) if domains else if_none
    return EnergySum(tuple(domain.name for domain in domains), joules, above_idle, reason or None)


def _total(
    domains: Sequence[DomainEnergy], figure: Callable[[DomainEnergy], float | None]
) -> float | None:
    figures = [figure(domain) for domain in domains]
    known = [value for value in figures if value is not None]
    return sum(known) if known and len(known) == len(figures) else None


def _sum_in_use(
    domains: Sequence[DomainEnergy], in_use: Collection[str], if_none: str, excluded: str
) -> EnergySum:
    unknown = [domain.name for domain in domains if domain.device is None]
    used = [domain for domain in domains if domain.device in in_use]
    if unknown:
        names = tuple(domain.name for domain in used)
        reason = f"{', '.join(unknown)}: it is not known which device that is"
        return EnergySum(names, None, None, reason)
    return _sum(used, "no sensor measures a device in use" if domains else if_none, excluded)


def _worker_energy(
    worker: Worker,
    workers: Sequence[Worker],
    origins: Mapping[str, Domain],
    windows: Mapping[str, WindowEnergy],
) -> WorkerEnergy:
    device = _with_index(worker.device)
    sharing = [str(other.rank) for other in workers if _with_index(other.device) == device]
    sensors = [
        n for n, origin in origins.items() if origin.device == device and not origin.estimate
    ]
    if len(sharing) > 1:
        return _unknown(worker, f"workers {', '.join(sharing)} share {device}")
    if not sensors:
        return _unknown(worker, f"no sensor is known to measure {device}")
    joules, reasons = {}, []
    for phase in _BLOCKWISE_PHASES:
        window = windows[phase]
        used = window.joules or {}
        lost = [name for name in sensors if name not in used]
        if not lost:
            joules[phase] = sum(used[name] for name in sensors)
        reasons += [
            f"{phase}, {name}: {_why_missing(name, origins[name], window)}" for name in lost
        ]
    return WorkerEnergy(worker.rank, worker.device, joules or None, "; ".join(reasons) or None)


def _unknown(worker: Worker, reason: str) -> WorkerEnergy:
    return WorkerEnergy(worker.rank, worker.device, None, reason)
