"""Windows over energy meters: the joules between two moments of a run, by domain."""

from __future__ import annotations

import math
import queue
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pbkd.errors import PLUGIN_FAILURES, MeterUnavailableError, PluginError, one_line
from pbkd.plugin.attribution import plugin_of
from pbkd.protocols import EnergyReading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pbkd.protocols import EnergyMeter


__all__ = ["IDLE", "Domain", "Energy", "EnergyMonitor", "monitor_energy", "probe"]

IDLE = "idle"
"""The window in which `EnergyMonitor.rest` measured."""
_REST = 2.0  # seconds in which nothing is done, before a run
_PERIOD = 1.0  # seconds between two readings
_PATIENCE = 5.0  # seconds after which a meter that does not answer is lost


@dataclass(frozen=True)
class Domain:
    """Whose figures a domain's are: the meter's name, and the device's where that is known.

    `estimate` says how they are worked out where no sensor measures them.
    """

    meter: str
    device: str | None = None
    estimate: str | None = None


@dataclass(frozen=True)
class Energy:
    """What a window took, as far as it was measured.

    `joules` holds one figure for each domain (such as `gpu0`), or is None where nothing was
    measured. `reason` names every meter and domain that is missing and says why; it is None
    where none is. `lost` has the reasons of domains, `absent` those of meters without any. `meters`
    names the meters that the figures come from; `domains` are those of `joules` and of `lost`.
    """

    seconds: float
    joules: Mapping[str, float] | None
    reason: str | None
    meters: tuple[str, ...]
    domains: Mapping[str, Domain] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


class _Samples(NamedTuple):
    """What every meter read, or why it is lost, and when (of `time.perf_counter`)."""

    readings: Sequence[EnergyReading | str]
    time: float


class EnergyMonitor:
    """Measures named windows with the meters that `monitor_energy` opened."""

    def __init__(self, samplers: Sequence[_Sampler]) -> None:
        """Start without windows; `monitor_energy` makes the samplers."""
        self.windows: dict[str, Energy] = {}
        self._samplers = samplers

    def rest(self) -> None:
        """Measure, for 2 seconds, what the sensors tell while nothing is done: the window `idle`.

        Without a sensor, or with estimates only, there is no such window and no time is lost.
        """
        if any(map(_measures, _sample(self._samplers))):
            with self.window(IDLE):
                time.sleep(_REST)

    @contextmanager
    def window(self, name: str) -> Iterator[None]:
        """Measure the body of the `with`; the result is then `windows[name]`.

        Windows may overlap. A body that raises leaves no result.
        Raises `ValueError` where the name has a result already.
        """
        if name in self.windows:
            raise ValueError(f"there is a window '{name}' already")
        begin = self._sampled()
        yield
        self.windows[name] = self._since(begin)

    def power(self, seconds: float, stop: threading.Event) -> Iterator[dict[str, float]]:
        """Yield the watts of every domain that is measured, over so many seconds, until `stop`."""
        begin = self._sampled()
        while not stop.wait(seconds):
            energy = self._since(begin)
            begin = self._sampled()
            yield {d: joules / energy.seconds for d, joules in (energy.joules or {}).items()}

    def _sampled(self) -> _Samples:
        return _Samples(_sample(self._samplers), time.perf_counter())

    def _since(self, begin: _Samples) -> Energy:
        seconds = time.perf_counter() - begin.time
        end = _sample(self._samplers)
        names = [sampler.name for sampler in self._samplers]
        return _energy(seconds, list(zip(names, begin.readings, end, strict=True)))


@contextmanager
def monitor_energy(meters: Sequence[EnergyMeter]) -> Iterator[EnergyMonitor]:
    """Open `meters`, read each about once a second, and close them at the end.

    A meter never stops the run: one that is unavailable, raises, or gives no reading within 5
    seconds is lost from then on, and every window that misses it tells why.
    """
    samplers = [_Sampler(meter) for meter in meters]
    try:
        _sample(samplers)
        yield EnergyMonitor(samplers)
    finally:
        _close(samplers)


def probe(meter: EnergyMeter) -> str | None:
    """Open a meter, read it once and close it: return None if it measures here, else why not."""
    sampler = _Sampler(meter)
    (sample,) = _sample([sampler])
    _close([sampler])
    if sampler.failure is not None or isinstance(sample, str):
        return sampler.failure or str(sample)
    if sample.joules:
        return None
    return "; ".join(_lost(sample)) or "it has no domain"


class _Sampler:
    """Opens, reads and closes one meter, all in one daemon thread of its own.

    With a thread for each, a meter that hangs holds up neither the run nor the other meters, and
    a meter is never read by two threads. `failure` says why the meter is lost, once it is.
    """

    def __init__(self, meter: EnergyMeter) -> None:
        self.name = str(getattr(meter, "name", type(meter).__name__))
        self.failure: str | None = None
        self._meter = meter
        self._requests: queue.SimpleQueue[Future[EnergyReading | str] | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"meter {self.name}", daemon=True)
        self._thread.start()

    def request(self) -> Future[EnergyReading | str]:
        """Ask for a fresh reading; the answer is a string, the reason, if the meter is lost."""
        request: Future[EnergyReading | str] = Future()
        self._requests.put(request)
        return request

    def answer(self, request: Future[EnergyReading | str], deadline: float) -> EnergyReading | str:
        """Wait for the answer until `deadline` (of `time.monotonic`), then give the meter up."""
        if self.failure is None:
            try:
                return request.result(max(0.0, deadline - time.monotonic()))
            except NoAnswer:
                self.failure = f"it gave no reading within {_PATIENCE:g} s"
                self.stop()
        return self.failure

    def stop(self) -> None:
        """Ask the thread to close the meter and end."""
        self._stopped.set()
        self._requests.put(None)

    def join(self, deadline: float) -> None:
        """Wait for the end of the thread until `deadline`, unless the meter is lost anyway."""
        if self.failure is None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
            if self._thread.is_alive():
                self.failure = f"it did not close within {_PATIENCE:g} s"

    def _run(self) -> None:
        try:
            with self._meter.open() as read:
                self._serve(lambda: _checked(read()))
        except PLUGIN_FAILURES as error:
            failure = self.failure = _reason(self._meter, error)
            self._serve(lambda: failure)

    def _serve(self, read: Callable[[], EnergyReading | str]) -> None:
        """Read on every request, and once a period between requests, until stopped."""
        while not self._stopped.is_set():
            try:
                request = self._requests.get(timeout=_PERIOD)
            except queue.Empty:
                read()
                continue
            if request is None:
                return
            try:
                request.set_result(read())
            except Exception:
                self._requests.put(request)  # to be answered with the reason
                raise


def _sample(samplers: Sequence[_Sampler]) -> list[EnergyReading | str]:
    """Read all meters at once; for one that is lost, return the reason instead."""
    requests = [sampler.request() for sampler in samplers]
    deadline = time.monotonic() + _PATIENCE
    return [
        sampler.answer(request, deadline)
        for sampler, request in zip(samplers, requests, strict=True)
    ]


def _close(samplers: Sequence[_Sampler]) -> None:
    deadline = time.monotonic() + _PATIENCE
    for sampler in samplers:
        sampler.stop()
    for sampler in samplers:
        sampler.join(deadline)


def _checked(reading: EnergyReading) -> EnergyReading:
    """Return a copy, which the meter cannot change later, with numbers and reasons only."""
    if not isinstance(reading, EnergyReading):
        raise PluginError(f"it reads {type(reading).__name__}, not pbkd.EnergyReading.")
    lost = {str(domain): str(reason) for domain, reason in reading.lost.items()}
    joules = {str(d): float(value) for d, value in reading.joules.items() if d not in lost}
    devices = {str(domain): str(device) for domain, device in reading.devices.items()}
    estimates = {str(domain): str(how) for domain, how in reading.estimates.items()}
    for domain in estimates:
        if "estimate" not in domain:
            raise PluginError(f"its estimate '{domain}' has no 'estimate' in its name.")
    return EnergyReading(joules, lost, devices, estimates)


def _measures(sample: EnergyReading | str) -> bool:
    return not isinstance(sample, str) and bool(sample.joules.keys() - sample.estimates.keys())


def _reason(meter: EnergyMeter, error: BaseException) -> str:
    """Say why a meter is lost: what it says is missing here, or that its plugin fails."""
    text = one_line(error).rstrip(".")
    unavailable = isinstance(error, MeterUnavailableError)
    return text if unavailable else f"{plugin_of(meter)} fails ({text})"


def _lost(reading: EnergyReading) -> list[str]:
    return [f"{domain}: {reason}" for domain, reason in reading.lost.items()]


def _energy(
    seconds: float, samples: Sequence[tuple[str, EnergyReading | str, EnergyReading | str]]
) -> Energy:
    """Return a window's energy from each meter's name and its samples at both ends."""
    joules: dict[str, float] = {}
    domains: dict[str, Domain] = {}
    lost: dict[str, str] = {}
    absent: dict[str, str] = {}
    missing: list[str] = []
    for meter, begin, end in samples:
        if isinstance(begin, str) or isinstance(end, str):
            absent[meter] = begin if isinstance(begin, str) else str(end)
            missing.append(f"{meter}: {absent[meter]}")
            continue
        used, reasons = _used(begin, end)
        twice = {d: f"already measured by {domains[d].meter}" for d in used if d in joules}
        missing += [f"{meter} {domain}: {why}" for domain, why in {**reasons, **twice}.items()]
        found = {domain: _domain(meter, begin, end, domain) for domain in (*used, *reasons)}
        domains |= {domain: whose for domain, whose in found.items() if domain not in joules}
        joules |= {domain: value for domain, value in used.items() if domain not in twice}
        lost |= reasons
    return Energy(
        seconds,
        joules or None,
        "; ".join(missing if samples else ["no energy meter is chosen"]) or None,
        tuple(dict.fromkeys(domains[domain].meter for domain in joules)),
        domains,
        {domain: reason for domain, reason in lost.items() if domain not in joules},
        absent,
    )


def _domain(meter: str, begin: EnergyReading, end: EnergyReading, name: str) -> Domain:
    devices, estimates = {**begin.devices, **end.devices}, {**begin.estimates, **end.estimates}
    return Domain(meter, devices.get(name), estimates.get(name))


def _used(begin: EnergyReading, end: EnergyReading) -> tuple[dict[str, float], dict[str, str]]:
    """Return the joules of each domain between two readings, and why a domain has none."""
    used: dict[str, float] = {}
    reasons = {**end.lost, **begin.lost}
    for domain in [*begin.joules, *(d for d in end.joules if d not in begin.joules)]:
        if domain in reasons:
            continue
        step = end.joules.get(domain, math.nan) - begin.joules.get(domain, math.nan)
        if step > 0 and math.isfinite(step):
            used[domain] = step
        elif step == 0:
            # Whatever is switched on uses energy, so this is a sensor that is stuck or too slow.
            reasons[domain] = "its counter did not move"
        else:
            reasons[domain] = "its counter ran backwards, or was not there all the time"
    return used, reasons
