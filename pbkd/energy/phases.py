"""What each phase of a run takes: seconds, CPU seconds, joules."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pbkd.core.process import background_thread, cpu_seconds
from pbkd.core.results import PhaseResult
from pbkd.errors import PbkdError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from pbkd.core.events import Event
    from pbkd.energy.monitor import EnergyMonitor


__all__ = ["PhaseClock", "power_told"]


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


_EVERY = 5.0  # seconds


@contextmanager
def power_told(monitor: EnergyMonitor, tell: Callable[[Event], None]) -> Iterator[None]:
    """Tell of the power during the context, from a thread, as long as anything measures it."""

    def watch(stop: threading.Event) -> None:
        # A run does not end for want of these: what ends it is told where it matters.
        with suppress(PbkdError, OSError):
            for watts in monitor.power(_EVERY, stop):
                if not watts:
                    return
                tell({"event": "power", "watts": watts})

    with background_thread(watch, "pbkd-power"):
        yield
