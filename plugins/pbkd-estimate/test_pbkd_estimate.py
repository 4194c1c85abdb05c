from __future__ import annotations

import subprocess
import sys
import time

import pytest
from pbkd_estimate import EstimateMeter

from pbkd.energy import monitor_energy
from pbkd.errors import MeterUnavailableError
from pbkd.testing import check_meter

BUSY = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


@pytest.mark.parametrize("where", ["here", "in a process"])
def test_a_cpu_second_counts_as_the_stated_watts(where: str) -> None:
    with monitor_energy([EstimateMeter(watts=20)]) as monitor:
        with monitor.window("work"):
            if where == "here":
                exec(BUSY)
            else:
                subprocess.run([sys.executable, "-c", BUSY], check=True)
        with monitor.window("rest"):
            time.sleep(0.3)
    work, rest = monitor.windows["work"], monitor.windows["rest"]
    assert work.joules is not None
    assert list(work.joules) == ["cpu-estimate"]
    assert work.joules["cpu-estimate"] >= 20 * 0.29  # the system counts in ticks of 10 ms
    assert (rest.joules or {}).get("cpu-estimate", 0.0) < 20 * 0.1


def test_an_estimate_says_how_it_was_made() -> None:
    with EstimateMeter(watts=7.5).open() as read:
        reading = read()
    assert reading.estimates == {
        "cpu-estimate": "CPU seconds of the run and its workers x 7.5 W, stated for a busy core"
    }


@pytest.mark.parametrize("watts", [0.0, -3.0, float("nan"), float("inf")])
def test_without_watts_nothing_is_estimated(watts: float) -> None:
    with (
        pytest.raises(MeterUnavailableError, match="without being asked: state the watts"),
        EstimateMeter(watts=watts).open(),
    ):
        pytest.fail("there is nothing to open")


def test_an_estimate_has_no_idle_power_and_costs_no_time() -> None:
    start = time.monotonic()
    with monitor_energy([EstimateMeter(watts=20)]) as monitor:
        monitor.measure_idle()
    assert monitor.windows == {}
    assert time.monotonic() - start < 1.5


def test_the_meter_keeps_its_contract() -> None:
    check_meter(EstimateMeter(watts=10))
    check_meter(EstimateMeter())
