"""Reading of energy meters, each in a separate thread, so that a failing one blocks nothing."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING

from pbkd.errors import PLUGIN_FAILURES, MeterUnavailableError, PluginError, one_line
from pbkd.plugin.attribution import describe_origin
from pbkd.protocols import EnergyReading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pbkd.protocols import EnergyMeter

    Sample = EnergyReading | str


__all__ = ["MeterSampler", "close_all", "probe", "sample_all"]

_PERIOD = 1.0
"""Seconds between two readings, for meters that follow a counter which wraps around."""
_TIMEOUT = 5.0
"""Seconds after which a meter that does not answer is abandoned."""


class MeterSampler:
    """Opens, reads and closes one meter, always from the same daemon thread.

    Attributes:
        name: Name of the meter.
        failure: Why the meter cannot be used any more; None while it works.
    """

    def __init__(self, meter: EnergyMeter) -> None:
        """Start the thread, which opens the meter."""
        self.name = str(getattr(meter, "name", type(meter).__name__))
        self.failure: str | None = None
        self._meter = meter
        self._requests: queue.SimpleQueue[Future[Sample] | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"meter {self.name}", daemon=True)
        self._thread.start()

    def request(self) -> Future[Sample]:
        """Request a reading; a meter that cannot be used answers with the reason, a string."""
        request: Future[Sample] = Future()
        self._requests.put(request)
        return request

    def result(self, request: Future[Sample], deadline: float) -> Sample:
        """Wait for the answer to a request, and give the meter up if there is none.

        Args:
            request: The request.
            deadline: When to stop waiting, as a time of `time.monotonic`.

        Returns:
            The reading, or the reason why there is none.
        """
        if self.failure is None:
            try:
                return request.result(max(0.0, deadline - time.monotonic()))
            except FutureTimeoutError:
                self.failure = f"it gave no reading within {_TIMEOUT:g} s"
                self.stop()
        return self.failure

    def stop(self) -> None:
        """Ask the thread to close the meter and to end."""
        self._stopped.set()
        self._requests.put(None)

    def join(self, deadline: float) -> None:
        """Wait until `deadline` for the end of the thread, unless the meter has failed already."""
        if self.failure is None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
            if self._thread.is_alive():
                self.failure = f"it did not close within {_TIMEOUT:g} s"

    def _run(self) -> None:
        try:
            with self._meter.open() as read:
                self._serve(lambda: _checked(read()))
        except PLUGIN_FAILURES as error:
            failure = self.failure = _failure_text(self._meter, error)
            self._serve(lambda: failure)

    def _serve(self, read: Callable[[], Sample]) -> None:
        """Answer requests until stopped; without requests, read once per period."""
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


def sample_all(samplers: Sequence[MeterSampler]) -> list[Sample]:
    """Read all meters at the same time; a meter that failed has the reason in its place."""
    requests = [sampler.request() for sampler in samplers]
    deadline = time.monotonic() + _TIMEOUT
    return [
        sampler.result(request, deadline)
        for sampler, request in zip(samplers, requests, strict=True)
    ]


def close_all(samplers: Sequence[MeterSampler]) -> None:
    """Close all meters at the same time."""
    deadline = time.monotonic() + _TIMEOUT
    for sampler in samplers:
        sampler.stop()
    for sampler in samplers:
        sampler.join(deadline)


def probe(meter: EnergyMeter) -> str | None:
    """Open a meter, read it once and close it.

    Returns:
        None if it measures on this machine, else the reason why it does not.
    """
    sampler = MeterSampler(meter)
    (sample,) = sample_all([sampler])
    close_all([sampler])
    if sampler.failure is not None or isinstance(sample, str):
        return sampler.failure or str(sample)
    if sample.joules:
        return None
    lost = [f"{domain}: {reason}" for domain, reason in sample.lost.items()]
    return "; ".join(lost) or "it has no domain"


def _checked(reading: EnergyReading) -> EnergyReading:
    """Copy a reading, so that the meter cannot change it later, and check its types."""
    if not isinstance(reading, EnergyReading):
        raise PluginError(f"it reads {type(reading).__name__}, not pbkd.EnergyReading.")
    lost = {str(domain): str(reason) for domain, reason in reading.lost.items()}
    joules = {str(d): float(value) for d, value in reading.joules.items() if d not in lost}
    devices = {str(domain): str(device) for domain, device in reading.devices.items()}
    estimates = {str(domain): str(method) for domain, method in reading.estimates.items()}
    for domain in estimates:
        if "estimate" not in domain:
            raise PluginError(f"its estimate '{domain}' has no 'estimate' in its name.")
    return EnergyReading(joules, lost, devices, estimates)


def _failure_text(meter: EnergyMeter, error: BaseException) -> str:
    """Return the meter's own reason if it is unavailable, else blame its plugin."""
    text = one_line(error).rstrip(".")
    unavailable = isinstance(error, MeterUnavailableError)
    return text if unavailable else f"{describe_origin(meter)} fails ({text})"
