from __future__ import annotations

import time

from pbkd.energy.monitor import monitor_energy
from pbkd.energy.phases import PhaseClock


def test_a_phase_has_its_seconds_and_cpu_seconds() -> None:
    with monitor_energy([]) as monitor:
        clock = PhaseClock(monitor)
        with clock.phase("sleep"):
            time.sleep(0.2)
        with clock.phase("work"):
            end = time.process_time() + 0.2
            while time.process_time() < end:
                pass
    sleep, work = clock.results
    assert (sleep.name, work.name) == ("sleep", "work")
    assert sleep.seconds >= 0.2
    assert sleep.cpu_seconds < 0.1 < work.cpu_seconds


def test_joules_without_a_meter_are_none_with_a_reason() -> None:
    with monitor_energy([]) as monitor:
        clock = PhaseClock(monitor)
        with clock.phase("nothing"):
            pass
    assert clock.results[0].joules is None
    assert clock.results[0].joules_reason
