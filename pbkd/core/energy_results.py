"""The energy of a run, in joules by sensor, sum and worker."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DomainEnergy", "EnergyResult", "EnergySum", "WorkerEnergy"]


@dataclass(frozen=True, kw_only=True)
class DomainEnergy:
    """The energy of one sensor or estimate, over all phases of a run.

    Attributes:
        name: Name of the domain, such as `gpu0`.
        meter: Name of the meter.
        device: The device that it measures, as torch names it, if known.
        estimate: How the joules are estimated, if no sensor measures them.
        idle_watts: Mean power while the machine was idle, before the run.
        joules: Energy, idle power included.
        above_idle: Energy above idle power.
        reason: Which of these figures are missing, and why.
    """

    name: str
    meter: str
    device: str | None
    estimate: str | None
    idle_watts: float | None
    joules: float | None
    above_idle: float | None
    reason: str | None


@dataclass(frozen=True)
class EnergySum:
    """Measured energy of several domains, without estimates.

    Attributes:
        domains: Names of the domains.
        joules: Energy, idle power included.
        above_idle: Energy above idle power.
        reason: Why a sum is None, or which meters are excluded.
    """

    domains: tuple[str, ...]
    joules: float | None
    above_idle: float | None
    reason: str | None


@dataclass(frozen=True)
class WorkerEnergy:
    """Energy of a worker's device in the blockwise phases, idle power included.

    Attributes:
        rank: Rank of the worker.
        device: Its device.
        joules: Joules by phase; None if no sensor measures the device or workers share it.
        reason: Which phases are missing, and why.
    """

    rank: int
    device: str
    joules: dict[str, float] | None
    reason: str | None


@dataclass(frozen=True)
class EnergyResult:
    """The energy of a run.

    Attributes:
        domains: Energy by domain.
        all_devices: Sum over all measured domains.
        in_use: Sum over the domains of devices on which the run computed.
        workers: Energy by worker.
        idle_seconds: Duration of the measurement of idle power; None if there was no sensor.
    """

    domains: tuple[DomainEnergy, ...]
    all_devices: EnergySum
    in_use: EnergySum
    workers: tuple[WorkerEnergy, ...]
    idle_seconds: float | None
