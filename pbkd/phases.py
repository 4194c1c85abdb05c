"""What each phase of a run takes: seconds, CPU seconds, joules."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pbkd.cpu import cpu_seconds
from pbkd.result import PhaseResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pbkd.energy import EnergyMonitor
    from pbkd.journal import Event

__all__ = ["PhaseClock"]


class PhaseClock:
    """Measures named phases, one after another."""

    def __init__(
        self, monitor: EnergyMonitor, tell: Callable[[Event], None] = lambda _event: None
    ) -> None:
        """Take energy from `monitor`; `tell` of every phase as it begins."""
        self.results: list[PhaseResult] = []
        self._monitor = monitor
        self._tell = tell

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the body of the `with`; CPU seconds include workers that ended in it."""
        self._tell({"event": "phase", "phase": name})
        cpu = cpu_seconds()
        start = time.perf_counter()
        with self._monitor.window(name):
            yield
        seconds = time.perf_counter() - start
        energy = self._monitor.windows[name]
        joules = None if energy.joules is None else dict(energy.joules)
        self.results.append(PhaseResult(name, seconds, cpu_seconds() - cpu, joules, energy.reason))
