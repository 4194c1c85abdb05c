"""Results of a benchmark: figures of every procedure, speed-ups, energy savings."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = ["BenchResult", "ProcedureResult", "Saving", "Spread"]


@dataclass(frozen=True)
class Spread:
    """Minimum, median and maximum of a figure over the rounds."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, figures: Iterable[float]) -> Spread:
        """Return the spread of the figures, of which there must be at least one."""
        ordered = sorted(figures)
        return cls(ordered[0], statistics.median(ordered), ordered[-1])


@dataclass(frozen=True, kw_only=True)
class ProcedureResult:
    """Figures of one procedure; seconds and joules are for 1,000 images.

    Attributes:
        name: The procedure.
        seconds: Wall-clock seconds.
        cpu_seconds: CPU seconds of all workers together.
        peak_bytes: Peak resident memory of each busy worker; None where it is not known.
        predicted_seconds: Seconds of the cost model; None without a prediction.
        joules: Energy by domain of the meters; None if nothing was measured.
        joules_reason: What was not measured, and why.
        devices: The device of each domain, where known.
        in_use: Devices of busy workers, and the CPU.
        lost: Domains without any measurement.
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


@dataclass(frozen=True, kw_only=True)
class Saving:
    """Energy of a procedure compared with `serial` on one worker, for 1,000 images.

    Attributes:
        procedure: The procedure.
        counted: `all devices`, including idle ones, or `devices in use`: the devices of busy
            workers, and the CPU.
        e1_joules: Energy E1 of `serial`; None if not comparable.
        en_joules: Energy EN of the procedure; None if not comparable.
        share: The fraction saved, (E1 - EN) / E1; None if not comparable.
        papers: The paper's figure, E1 / EN - 1; None if not comparable.
        reason: Why there are no figures, or what they do not include.
    """

    procedure: str
    counted: str
    e1_joules: float | None
    en_joules: float | None
    share: float | None
    papers: float | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """Results of a preset.

    Attributes:
        preset: Name of the preset.
        workers: Workers of the parallel procedures.
        threads: CPU threads of each worker.
        batch_size: Images per batch.
        command: The command line.
        procedures: Figures of every procedure.
        speedups: Speed-up of the first over the second procedure, by `FIRST / SECOND`.
        checkpoint_seconds: Seconds to write one checkpoint of every block.
        environment: Version of torch, device, machine.
        savings: Energy compared with `serial`.
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
