from __future__ import annotations

import itertools
import math
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pbkd.core.events import PowerRead
from pbkd.energy import sampler
from pbkd.energy.monitor import monitor_energy
from pbkd.energy.phases import report_power
from pbkd.energy.sampler import probe
from pbkd.energy.window import Domain, WindowEnergy
from pbkd.errors import MeterUnavailableError, RunFolderError
from pbkd.protocols import EnergyReading
from pbkd.testing import FakeMeter as Fake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pbkd.core.events import Event

FAILS = "the plugin 'pbkd.testing.fakes' fails"


class Other(Fake):
    name = "other"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "_TIMEOUT", 0.2)


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """What a hanging meter waits for, until the test is over."""
    event = threading.Event()
    yield event
    event.set()


def measure(*meters: Fake, during: Callable[[], object]) -> WindowEnergy:
    with monitor_energy(meters) as monitor, monitor.window("w"):
        during()
    return monitor.windows["w"]


def test_a_window_holds_the_joules_and_seconds_of_its_body_only() -> None:
    meter = Fake({"gpu0": 10.0, "gpu1": 1.0})
    with monitor_energy([meter]) as monitor:
        with monitor.window("first"):
            meter.joules.update(gpu0=15.0, gpu1=1.5)
            time.sleep(0.03)
        meter.joules.update(gpu0=1000.0)
        with monitor.window("second"):
            meter.joules.update(gpu0=1002.0, gpu1=1.75)
    first, second = monitor.windows["first"], monitor.windows["second"]
    assert first.joules == {"gpu0": 5.0, "gpu1": 0.5}
    assert second.joules == {"gpu0": 2.0, "gpu1": 0.25}
    assert (first.reason, first.meters) == (None, ("fake",))
    assert 0.03 <= first.seconds < 1.0
    assert meter.closed


def test_an_outer_window_holds_what_its_inner_windows_hold() -> None:
    meter = Fake()
    with monitor_energy([meter]) as monitor, monitor.window("run"):
        for name in ("a", "b"):
            with monitor.window(name):
                meter.joules["gpu0"] += 3.0
    assert {name: w.joules for name, w in monitor.windows.items()} == {
        "a": {"gpu0": 3.0},
        "b": {"gpu0": 3.0},
        "run": {"gpu0": 6.0},
    }


def test_two_meters_fill_one_window() -> None:
    gpu, cpu = Fake({"gpu0": 0.0}), Other({"cpu-package-0": 0.0})

    def work() -> None:
        gpu.joules["gpu0"], cpu.joules["cpu-package-0"] = 4.0, 2.0

    result = measure(gpu, cpu, during=work)
    assert result.joules == {"gpu0": 4.0, "cpu-package-0": 2.0}
    assert (result.reason, result.meters) == (None, ("fake", "other"))


def test_a_domain_of_two_meters_counts_once() -> None:
    first, second = Fake(), Other()

    def work() -> None:
        first.joules["gpu0"], second.joules["gpu0"] = 14.0, 15.0

    result = measure(first, second, during=work)
    assert result.joules == {"gpu0": 4.0}
    assert result.meters == ("fake",)
    assert result.reason == "other gpu0: already measured by fake"


def test_an_unavailable_meter_leaves_its_reason_and_the_others_measure() -> None:
    gpu = Fake(unavailable=MeterUnavailableError("no driver here."))
    cpu = Other({"cpu-package-0": 0.0})
    result = measure(gpu, cpu, during=lambda: cpu.joules.update({"cpu-package-0": 7.0}))
    assert result.joules == {"cpu-package-0": 7.0}
    assert result.meters == ("other",)
    assert result.reason == "fake: no driver here"


@pytest.mark.parametrize(
    ("meters", "reason"),
    [
        ([], "no energy meter is chosen"),
        ([Fake(unavailable=RuntimeError("boom"))], f"fake: {FAILS} (RuntimeError: boom)"),
        ([Fake({}, {"gpu0": "gone"})], "fake gpu0: gone"),
        ([Fake({"gpu0": 3.0})], "fake gpu0: its counter did not move"),
        (
            [Fake({"gpu0": math.nan})],
            "fake gpu0: its counter ran backwards, or was not there all the time",
        ),
    ],
)
def test_nothing_measured_is_none_with_a_reason(meters: list[Fake], reason: str) -> None:
    result = measure(*meters, during=lambda: None)
    assert result.joules is None
    assert result.reason == reason
    assert result.meters == ()


def test_a_counter_that_runs_backwards_is_left_out() -> None:
    meter = Fake({"gpu0": 10.0, "gpu1": 10.0})
    result = measure(meter, during=lambda: meter.joules.update(gpu0=3.0, gpu1=11.0))
    assert result.joules == {"gpu1": 1.0}
    assert result.reason is not None
    assert "gpu0" in result.reason
    assert "backwards" in result.reason


def test_a_domain_lost_in_mid_window_is_left_out_by_name() -> None:
    meter = Fake({"gpu0": 1.0, "gpu1": 1.0})

    def work() -> None:
        meter.joules = {"gpu0": 2.0}
        meter.lost = {"gpu1": "fell off the bus"}

    result = measure(meter, during=work)
    assert result.joules == {"gpu0": 1.0}
    assert result.reason == "fake gpu1: fell off the bus"
    assert result.meters == ("fake",)


@pytest.mark.parametrize("late", [False, True], ids=["gone", "come"])
def test_a_domain_that_is_not_there_all_the_time_is_left_out(late: bool) -> None:
    both, one = {"gpu0": 5.0, "gpu1": 5.0}, {"gpu0": 6.0}
    meter = Fake(one if late else both)
    changed = {"gpu0": 9.0, "gpu1": 9.0} if late else {"gpu0": 9.0}
    result = measure(meter, during=lambda: setattr(meter, "joules", changed))
    assert result.joules == {"gpu0": 3.0 if late else 4.0}
    assert result.reason is not None
    assert "gpu1" in result.reason


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


def test_meters_are_read_between_windows_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "_PERIOD", 0.01)
    meter = Fake()
    with monitor_energy([meter]) as monitor, monitor.window("w"):
        deadline = time.monotonic() + 5
        while len(meter.reads) < 10 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(meter.reads) >= 10
    assert set(meter.reads) != {threading.get_ident()}
    assert len(set(meter.reads)) == 1


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


def test_a_body_that_raises_leaves_no_window_and_closes_the_meters() -> None:
    meter = Fake()
    opened = monitor_energy([meter])
    monitor = opened.__enter__()
    with pytest.raises(KeyError), monitor.window("w"):
        raise KeyError
    assert not meter.closed
    opened.__exit__(None, None, None)
    assert monitor.windows == {}
    assert meter.closed


class Running(Fake):
    """Counts on by a joule whenever it is read."""

    def read(self) -> EnergyReading:
        self.joules = {domain: joules + 1 for domain, joules in self.joules.items()}
        return super().read()


def test_a_rest_tells_what_sensors_count_while_nothing_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pbkd.energy.monitor._IDLE_SECONDS", 0.05)
    with monitor_energy([Running({"gpu0": 0.0}), Fake(unavailable=OSError("none"))]) as monitor:
        monitor.measure_idle()
    idle = monitor.windows["idle"]
    assert idle.joules == {"gpu0": 1.0}
    assert 0.05 <= idle.seconds < 1.0


@pytest.mark.parametrize(
    "meters",
    [
        [],
        [Fake(unavailable=MeterUnavailableError("no driver."))],
        [Fake({}, {"gpu0": "gone"})],
        [Fake({"cpu-estimate": 0.0}, estimates={"cpu-estimate": "a guess"})],
    ],
    ids=["none", "unavailable", "lost", "estimate"],
)
def test_without_a_sensor_there_is_no_rest(meters: list[Fake]) -> None:
    start = time.monotonic()
    with monitor_energy(meters) as monitor:
        monitor.measure_idle()
        assert time.monotonic() - start < 1.0
    assert monitor.windows == {}


def test_a_window_says_whose_its_figures_are() -> None:
    gpu = Fake({"gpu0": 0.0, "gpu1": 0.0}, devices={"gpu0": "cuda:1"})
    cpu = Other({"cpu-estimate": 0.0, "gpu0": 0.0}, estimates={"cpu-estimate": "a guess"})

    def work() -> None:
        gpu.joules = {"gpu0": 2.0}
        gpu.lost = {"gpu1": "fell off the bus"}
        cpu.joules = {"cpu-estimate": 1.0, "gpu0": 7.0}

    result = measure(gpu, cpu, Fake(unavailable=OSError("none")), during=work)
    assert result.joules == {"gpu0": 2.0, "cpu-estimate": 1.0}
    assert result.domains == {
        "gpu0": Domain("fake", "cuda:1"),
        "gpu1": Domain("fake"),
        "cpu-estimate": Domain("other", None, "a guess"),
    }
    assert result.lost == {"gpu1": "fell off the bus"}
    assert result.absent == {"fake": f"{FAILS} (OSError: none)"}


def test_an_estimate_that_looks_like_a_measurement_is_refused() -> None:
    meter = Fake({"cpu": 0.0}, estimates={"cpu": "a guess"})
    result = measure(meter, during=lambda: meter.joules.update(cpu=5.0))
    assert result.joules is None
    assert result.reason == (f"fake: {FAILS} (its estimate 'cpu' has no 'estimate' in its name)")


def test_a_window_is_never_overwritten() -> None:
    meter = Fake()
    with monitor_energy([meter]) as monitor:
        with monitor.window("w"):
            meter.joules["gpu0"] += 1
        with pytest.raises(ValueError, match="'w'"), monitor.window("w"):
            pytest.fail("the body must not run")
    assert monitor.windows["w"].joules == {"gpu0": 1.0}


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


def test_power_is_the_joules_of_a_second() -> None:
    meter = Fake({"gpu0": 7.0, "gpu1": 1.0})

    class Passing(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            meter.joules["gpu0"] += 50.0
            return super().wait(timeout)

    with monitor_energy([meter]) as monitor:
        told = list(itertools.islice(monitor.power(0.05, Passing()), 3))
    for watts in told:
        assert set(watts) == {"gpu0"}  # the other counter does not move
        assert 50 / 2 < watts["gpu0"] <= 50 / 0.05


def test_power_that_nothing_measures_is_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbkd.energy.phases._EVERY", 0.01)
    told: list[Event] = []
    for meters in ([], [Fake({"gpu0": 1.0})]):  # one whose counter does not move
        with monitor_energy(meters) as monitor, report_power(monitor, told.append):
            time.sleep(0.1)
    assert told == []


def test_power_that_cannot_be_recorded_ends_no_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pbkd.energy.phases._EVERY", 0.01)
    tried = threading.Event()

    class Busy(Fake):
        def read(self) -> EnergyReading:
            self.joules["gpu0"] += 1.0
            return super().read()

    def emit(event: Event) -> None:
        assert isinstance(event, PowerRead)
        assert event.watts["gpu0"] > 0
        tried.set()
        raise RunFolderError("the folder is gone")

    with monitor_energy([Busy()]) as monitor, report_power(monitor, emit):
        assert tried.wait(30)
    assert capsys.readouterr().err == ""
