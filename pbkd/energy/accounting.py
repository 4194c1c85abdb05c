"""What the energy of a whole run comes to, from the windows in which it was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.results import DomainEnergy, EnergyResult, EnergySum, WorkerEnergy
from pbkd.energy.monitor import IDLE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pbkd.core.schedule import Schedule, Worker
    from pbkd.energy.monitor import Domain, Energy


__all__ = ["RUN", "account_energy", "devices_in_use"]

RUN = "run"
"""The window around all phases of a run."""
_BLOCKWISE = ("teacher-fed", "student-fed")


def devices_in_use(schedule: Schedule, workers: Sequence[Worker], host: str) -> set[str]:
    """Return the devices, as torch names them, of workers with work, and of the host process.

    The CPU is always one of them. `host` is where the host measures and fine-tunes.
    """
    busy = {
        worker.device
        for worker, jobs in zip(workers, schedule.assigned, strict=True)
        if jobs or schedule.shared
    }
    return {_indexed(device) for device in (*busy, host, "cpu")}


def _indexed(device: str) -> str:
    """Give an accelerator that is named by its kind alone the number of the first one."""
    return device if device == "cpu" or ":" in device else f"{device}:0"


def account_energy(
    windows: Mapping[str, Energy],
    workers: Sequence[Worker],
    in_use: Collection[str],
    *,
    resumed: bool = False,
) -> EnergyResult:
    """Put a run's energy together from its windows: `run`, `idle` and the phases.

    `in_use` are the devices on which something was done. Of a run that was resumed only the rest
    was measured, so that it has no figures for the whole.
    """
    whole, idle = windows[RUN], windows.get(IDLE)
    known: dict[str, Domain] = {}
    for window in windows.values():
        known |= window.domains
    domains = tuple(
        _domain(name, domain, whole, idle, resumed=resumed) for name, domain in known.items()
    )
    measured = [domain for domain in domains if domain.estimate is None]
    absent = {meter: why for meter, why in whole.absent.items() if not _provides(meter, measured)}
    not_in_it = "; ".join(f"not in it, {meter}: {why}" for meter, why in absent.items())
    nothing = whole.reason or "there are only estimates"
    return EnergyResult(
        domains,
        _sum(measured, nothing, not_in_it),
        _sum_in_use(measured, in_use, nothing, not_in_it),
        tuple(_worker(worker, workers, known, windows) for worker in workers),
        idle.seconds if idle else None,
    )


def _domain(
    name: str, domain: Domain, whole: Energy, idle: Energy | None, *, resumed: bool
) -> DomainEnergy:
    reasons = []
    joules = (whole.joules or {}).get(name)
    if joules is None:
        reasons.append(_why(name, domain, whole))
    elif resumed:
        joules = None
        reasons.append("the run was resumed, and only the rest of it was measured")
    resting = (idle.joules or {}).get(name) if idle else None
    watts = resting / idle.seconds if idle and resting is not None else None
    if watts is None and not domain.estimate:
        why = _why(name, domain, idle) if idle else "there was no sensor before the run"
        reasons += [] if why in reasons else [f"idle power: {why}"]
    above = None if joules is None or watts is None else joules - watts * whole.seconds
    reason = "; ".join(reasons) or None
    return DomainEnergy(
        name, domain.meter, domain.device, domain.estimate, watts, joules, above, reason
    )


def _why(name: str, domain: Domain, window: Energy) -> str:
    return window.lost.get(name) or window.absent.get(domain.meter) or "it was not measured"


def _provides(meter: str, domains: Sequence[DomainEnergy]) -> bool:
    return any(domain.meter == meter for domain in domains)


def _sum(domains: Sequence[DomainEnergy], nothing: str, not_in_it: str) -> EnergySum:
    """Add up domains; one without joules leaves the sum without them, and the same above idle."""
    joules = _total(domains, lambda domain: domain.joules)
    above = _total(domains, lambda domain: domain.above_idle)
    missing = [f"{domain.name}: {domain.reason}" for domain in domains if domain.reason]
    reason = "; ".join(filter(None, [*missing, not_in_it])) if domains else nothing
    return EnergySum(tuple(domain.name for domain in domains), joules, above, reason or None)


def _total(
    domains: Sequence[DomainEnergy], figure: Callable[[DomainEnergy], float | None]
) -> float | None:
    figures = [figure(domain) for domain in domains]
    known = [value for value in figures if value is not None]
    return sum(known) if known and len(known) == len(figures) else None


def _sum_in_use(
    domains: Sequence[DomainEnergy], in_use: Collection[str], nothing: str, not_in_it: str
) -> EnergySum:
    unknown = [domain.name for domain in domains if domain.device is None]
    used = [domain for domain in domains if domain.device in in_use]
    if unknown:
        names = tuple(domain.name for domain in used)
        reason = f"{', '.join(unknown)}: it is not known which device that is"
        return EnergySum(names, None, None, reason)
    return _sum(used, "no sensor is that of a device in use" if domains else nothing, not_in_it)


def _worker(
    worker: Worker,
    workers: Sequence[Worker],
    known: Mapping[str, Domain],
    windows: Mapping[str, Energy],
) -> WorkerEnergy:
    device = _indexed(worker.device)
    sharing = [str(other.rank) for other in workers if _indexed(other.device) == device]
    own = [n for n, domain in known.items() if domain.device == device and not domain.estimate]
    if len(sharing) > 1:
        return _unknown(worker, f"workers {', '.join(sharing)} share {device}")
    if not own:
        return _unknown(worker, f"no sensor is known to be that of {device}")
    joules, reasons = {}, []
    for phase in _BLOCKWISE:
        taken = windows[phase].joules or {}
        lost = [name for name in own if name not in taken]
        if not lost:
            joules[phase] = sum(taken[name] for name in own)
        reasons += [f"{phase}, {n}: {_why(n, known[n], windows[phase])}" for n in lost]
    return WorkerEnergy(worker.rank, worker.device, joules or None, "; ".join(reasons) or None)


def _unknown(worker: Worker, reason: str) -> WorkerEnergy:
    return WorkerEnergy(worker.rank, worker.device, None, reason)
