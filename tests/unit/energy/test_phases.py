from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time

from pbkd_local import _start_method

from pbkd.energy.monitor import monitor_energy
from pbkd.energy.phases import PhaseClock


def test_a_phase_has_its_seconds_and_cpu_seconds() -> None:
    with monitor_energy([]) as monitor:
        clock = PhaseClock(monitor)
        with clock.phase("sleep"):
            time.sleep(0.2)
        with clock.phase("work"):
            end = time.perf_counter() + 0.2
            while time.perf_counter() < end:
                pass
    sleep, work = clock.results
    assert (sleep.name, work.name) == ("sleep", "work")
    assert sleep.seconds >= 0.2
    assert sleep.cpu_seconds < 0.1 < work.cpu_seconds


def test_cpu_seconds_include_processes_that_ended() -> None:
    busy = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    with monitor_energy([]) as monitor:
        clock = PhaseClock(monitor)
        with clock.phase("children"):
            subprocess.run([sys.executable, "-c", busy], check=True)
    assert clock.results[0].cpu_seconds >= 0.29  # the system counts in ticks of 10 ms


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_cpu_seconds_include_forks_of_a_server_that_ended() -> None:
    with monitor_energy([]) as monitor:
        clock = PhaseClock(monitor)
        with clock.phase("workers"):
            # Started as the launcher's workers are: the server stays for those of later tests.
            context = multiprocessing.get_context(_start_method())
            worker = context.Process(target=burn, args=(0.3,))  # type: ignore[attr-defined]
            worker.start()
            worker.join()
    assert clock.results[0].cpu_seconds >= 0.29


def test_joules_without_a_meter_are_none_with_a_reason() -> None:
    with monitor_energy([]) as monitor:
        clock = PhaseClock(monitor)
        with clock.phase("nothing"):
            pass
    assert clock.results[0].joules is None
    assert clock.results[0].joules_reason
