from __future__ import annotations

import math
import threading
import time

import pytest

from pbkd.energy import sampler
from pbkd.energy.monitor import monitor_energy
from pbkd.energy.window import Domain
from pbkd.errors import MeterUnavailableError
from pbkd.protocols import EnergyReading
from pbkd.testing import FakeMeter as Fake
from tests.unit.energy.windows import FAILS, Other, measure


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


def test_windows_of_one_name_are_added_up() -> None:
    meter = Fake()
    with monitor_energy([meter]) as monitor:
        for joules in (1, 2):
            with monitor.window("w"):
                meter.joules["gpu0"] += joules
    assert monitor.windows["w"].joules == {"gpu0": 3.0}
    assert monitor.windows["w"].reason is None


def test_a_domain_that_one_of_the_windows_lacks_is_lost() -> None:
    meter = Fake()
    with monitor_energy([meter]) as monitor:
        for moves in (True, False):
            with monitor.window("w"):
                meter.joules["gpu0"] += moves
    window = monitor.windows["w"]
    assert window.joules is None
    assert window.lost == {"gpu0": "its counter did not move"}
    assert window.reason == "fake gpu0: its counter did not move"
