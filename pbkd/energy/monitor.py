"""Energy measurement: joules by domain, for named windows of time."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from pbkd.energy.sampler import MeterSampler, close_all, sample_all
from pbkd.energy.window import add_windows, window_energy

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    from pbkd.energy.sampler import Sample
    from pbkd.energy.window import WindowEnergy
    from pbkd.protocols import EnergyMeter


__all__ = ["IDLE", "EnergyMonitor", "monitor_energy"]

IDLE = "idle"
"""Name of the window that `EnergyMonitor.measure_idle` measures."""
_IDLE_SECONDS = 2.0


class _Snapshot(NamedTuple):
    """One sample of every meter, and its time, of `time.perf_counter`."""

    samples: Sequence[Sample]
    time: float


class EnergyMonitor:
    """Measures named windows with the meters that `monitor_energy` opened.

    Attributes:
        windows: The energy of each window that has ended, by name.
    """

    def __init__(self, samplers: Sequence[MeterSampler]) -> None:
        """Start without windows; use `monitor_energy` to create a monitor."""
        self.windows: dict[str, WindowEnergy] = {}
        self._samplers = samplers

    def apart(self) -> EnergyMonitor:
        """Return a monitor of the same meters with windows of its own."""
        return EnergyMonitor(self._samplers)

    def measure_idle(self) -> None:
        """Measure idle power for 2 seconds, as the window `idle`.

        Without a sensor, or with estimates only, it returns at once and there is no such window.
        """
        if any(map(_has_sensor, sample_all(self._samplers))):
            with self.window(IDLE):
                time.sleep(_IDLE_SECONDS)

    @contextmanager
    def window(self, name: str) -> Iterator[None]:
        """Measure the body of the `with` statement, as `windows[name]`.

        Windows may overlap. A body that raises has no window. Windows of one name are added up.
        """
        begin = self._snapshot()
        yield
        energy = self._energy_since(begin)
        known = self.windows.get(name)
        self.windows[name] = energy if known is None else add_windows(known, energy)

    def power(self, seconds: float, stop: threading.Event) -> Iterator[dict[str, float]]:
        """Yield the mean power of successive intervals until `stop` is set.

        Args:
            seconds: Length of an interval.
            stop: Ends the iteration.

        Yields:
            Watts by domain; empty if nothing is measured.
        """
        begin = self._snapshot()
        while not stop.wait(seconds):
            energy = self._energy_since(begin)
            begin = self._snapshot()
            yield {d: joules / energy.seconds for d, joules in (energy.joules or {}).items()}

    def _snapshot(self) -> _Snapshot:
        return _Snapshot(sample_all(self._samplers), time.perf_counter())

    def _energy_since(self, begin: _Snapshot) -> WindowEnergy:
        seconds = time.perf_counter() - begin.time
        end = sample_all(self._samplers)
        names = [sampler.name for sampler in self._samplers]
        return window_energy(seconds, list(zip(names, begin.samples, end, strict=True)))


@contextmanager
def monitor_energy(meters: Sequence[EnergyMeter]) -> Iterator[EnergyMonitor]:
    """Open meters, read each about once a second, and close them at the end.

    A meter cannot stop the run: one that is unavailable, raises, or gives no reading within 5
    seconds is not asked any more, and the `reason` of every later window names it.

    Args:
        meters: The meters.

    Yields:
        The monitor that measures with them.
    """
    samplers = [MeterSampler(meter) for meter in meters]
    try:
        sample_all(samplers)
        yield EnergyMonitor(samplers)
    finally:
        close_all(samplers)


def _has_sensor(sample: Sample) -> bool:
    return not isinstance(sample, str) and bool(sample.joules.keys() - sample.estimates.keys())
