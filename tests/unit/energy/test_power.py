"""The power that is reported while a run goes on."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pbkd.core.events import PowerRead
from pbkd.energy.monitor import monitor_energy
from pbkd.energy.phases import report_power
from pbkd.errors import RunFolderError
from pbkd.protocols import EnergyReading
from pbkd.testing import FakeMeter as Fake

if TYPE_CHECKING:
    from pbkd.core.events import Event


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
