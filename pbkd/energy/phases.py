"""What each phase of a run takes: seconds, CPU seconds, joules."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pbkd.core.events import PhaseStarted, PowerRead
from pbkd.core.process import background_thread, cpu_seconds
from pbkd.core.results import PhaseResult
from pbkd.errors import PbkdError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pbkd.core.events import Emit
    from pbkd.energy.monitor import EnergyMonitor


__all__ = ["PLANNING", "PhaseClock", "report_power"]

PLANNING = "planning"
"""Name of the phase in which the others are predicted."""


class PhaseClock:
    """Measures named phases, one after another."""

    def __init__(
        self,
        monitor: EnergyMonitor,
        emit: Emit = lambda _event: None,
        other_cpu_seconds: Callable[[], float] = lambda: 0.0,
        earlier: Sequence[PhaseResult] = (),
    ) -> None:
        """Take energy from `monitor`; `emit` an event for each phase that begins.

        `other_cpu_seconds` returns the CPU time of this process so far that belongs to no phase.
        `earlier` phases were measured before; one that begins again is added to its earlier part.
        """
        self.results: list[PhaseResult] = [*earlier]
        self._earlier = {phase.name: phase for phase in earlier}
        self._other_cpu_seconds = other_cpu_seconds
        self._monitor = monitor
        self._emit = emit

    @property
    def seconds(self) -> dict[str, float]:
        """The seconds of the phases that are over."""
        return {result.name: result.seconds for result in self.results}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the body of the `with`; CPU seconds include workers that ended in it."""
        self._emit(PhaseStarted(phase=name))
        cpu = self._cpu_seconds()
        start = time.perf_counter()
        with self._monitor.window(name):
            yield
        seconds = time.perf_counter() - start
        self._add(name, seconds, self._cpu_seconds() - cpu)

    def _add(self, name: str, seconds: float, cpu: float) -> None:
        """Add to the phase's earlier parts, whose energy is in the same window or in `earlier`."""
        energy = self._monitor.windows[name]
        joules = None if energy.joules is None else dict(energy.joules)
        phase = PhaseResult(name, seconds, cpu, joules, energy.reason)
        names = [each.name for each in self.results]
        if name in names:
            before = self.results.pop(names.index(name))
            phase = replace(
                phase,
                seconds=before.seconds + seconds,
                cpu_seconds=before.cpu_seconds + cpu,
            )
        if earlier := self._earlier.get(name):
            phase = replace(
                phase,
                joules=_sum(earlier.joules, joules),
                joules_reason=earlier.joules_reason or energy.reason,
            )
        self.results.append(phase)

    def _cpu_seconds(self) -> float:
        return cpu_seconds() - self._other_cpu_seconds()


def _sum(
    one: Mapping[str, float] | None, other: Mapping[str, float] | None
) -> dict[str, float] | None:
    """Add up joules of the domains that were measured both times."""
    if one is None or other is None:
        return None
    return {name: joules + other[name] for name, joules in one.items() if name in other}


_EVERY = 5.0  # seconds


@contextmanager
def report_power(monitor: EnergyMonitor, emit: Emit) -> Iterator[None]:
    """Emit the power during the context, from a thread, as long as a meter measures it."""

    def watch(stop: threading.Event) -> None:
        # A meter that fails must not end the run; where it matters, the error is raised.
        with suppress(PbkdError, OSError):
            for watts in monitor.power(_EVERY, stop):
                if not watts:
                    return
                emit(PowerRead(watts=watts))

    with background_thread(watch, "pbkd-power"):
        yield
