"""Meters that fail, hang or are missing."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pbkd.energy import sampler
from pbkd.energy.monitor import monitor_energy
from pbkd.energy.sampler import probe
from pbkd.errors import MeterUnavailableError
from pbkd.protocols import EnergyReading
from pbkd.testing import FakeMeter as Fake
from tests.unit.energy.windows import FAILS, Other, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "_TIMEOUT", 0.2)


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """What a hanging meter waits for, until the test is over."""
    event = threading.Event()
    yield event
    event.set()


def test_an_unavailable_meter_leaves_its_reason_and_the_others_measure() -> None:
    gpu = Fake(unavailable=MeterUnavailableError("no driver here."))
    cpu = Other({"cpu-package-0": 0.0})
    result = measure(gpu, cpu, during=lambda: cpu.joules.update({"cpu-package-0": 7.0}))
    assert result.joules == {"cpu-package-0": 7.0}
    assert result.meters == ("other",)
    assert result.reason == "fake: no driver here"


def test_a_meter_that_raises_in_mid_window_is_closed_and_named() -> None:
    meter = Fake()
    with monitor_energy([meter]) as monitor:
        with monitor.window("before"):
            meter.joules["gpu0"] = 11.0
        with monitor.window("during"):
            meter.failure = OSError("unplugged")
        with monitor.window("after"):
            meter.failure = None
            meter.joules["gpu0"] = 12.0
        assert meter.closed
    assert monitor.windows["before"].joules == {"gpu0": 1.0}
    for name in ("during", "after"):
        assert monitor.windows[name].joules is None
        assert monitor.windows[name].reason == f"fake: {FAILS} (OSError: unplugged)"


def test_what_is_not_a_reading_becomes_a_reason() -> None:
    meter = Fake()
    meter.read = lambda: {"gpu0": 1.0}  # type: ignore[method-assign, assignment, return-value]
    result = measure(meter, during=lambda: None)
    assert result.joules is None
    assert result.reason == f"fake: {FAILS} (it reads dict, not pbkd.EnergyReading)"


@pytest.mark.usefixtures("impatient")
def test_a_hanging_meter_is_waited_for_once_and_the_others_measure(
    hanging: threading.Event,
) -> None:
    stuck, well = Fake(), Other({"cpu-package-0": 0.0})
    start = time.monotonic()
    with monitor_energy([stuck, well]) as monitor:
        for number in range(1, 6):
            with monitor.window(str(number)):
                stuck.joules["gpu0"] += 1.0
                well.joules["cpu-package-0"] += number
                if number == 2:
                    stuck.release = hanging
    seconds = time.monotonic() - start
    assert monitor.windows["1"].joules == {"gpu0": 1.0, "cpu-package-0": 1.0}
    for number in range(2, 6):
        window = monitor.windows[str(number)]
        assert window.joules == {"cpu-package-0": float(number)}
        assert window.reason == "fake: it gave no reading within 0.2 s"
        assert window.seconds < 0.2  # the wait for the reading is no part of the window
    assert 0.2 <= seconds < 1.0


@pytest.mark.usefixtures("impatient")
def test_a_meter_that_hangs_in_an_endless_loop_does_not_hang_the_run() -> None:
    over = False
    meter = Fake()

    def spin() -> EnergyReading:
        while not over:
            pass
        return EnergyReading({}, {})

    meter.read = spin  # type: ignore[method-assign]
    try:
        result = measure(meter, during=lambda: None)
        assert result.reason == "fake: it gave no reading within 0.2 s"
    finally:
        over = True


@pytest.mark.parametrize(
    ("meter", "reason"),
    [
        (Fake(), None),
        (Fake({"gpu0": 0.0}, {"gpu1": "gone"}), None),
        (Fake({}, {"gpu0": "gone", "gpu1": "dark"}), "gpu0: gone; gpu1: dark"),
        (Fake({}), "it has no domain"),
        (Fake(unavailable=MeterUnavailableError("no sensor here.")), "no sensor here"),
        (Fake(failure=ValueError("garbled")), f"{FAILS} (ValueError: garbled)"),
        (Fake(close_failure=OSError("stuck door")), f"{FAILS} (OSError: stuck door)"),
    ],
)
def test_probe_tells_why_a_meter_is_not_usable(meter: Fake, reason: str | None) -> None:
    assert probe(meter) == reason
    assert meter.closed == (meter.unavailable is None)


@pytest.mark.usefixtures("impatient")
def test_probe_comes_back_from_a_meter_that_hangs(hanging: threading.Event) -> None:
    start = time.monotonic()
    assert probe(Fake(release=hanging)) == "it gave no reading within 0.2 s"
    assert time.monotonic() - start < 1.0


@pytest.mark.usefixtures("impatient")
def test_probe_comes_back_from_a_meter_that_does_not_close(hanging: threading.Event) -> None:
    class Sticky(Fake):
        @contextmanager
        def open(self) -> Iterator[Callable[[], EnergyReading]]:
            yield self.read
            hanging.wait()

    assert probe(Sticky()) == "it did not close within 0.2 s"
