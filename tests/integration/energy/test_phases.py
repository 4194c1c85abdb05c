"""The CPU seconds of processes that a phase starts."""

from __future__ import annotations

import subprocess
import sys
import time

from pbkd_local import _fork_server

from pbkd.energy.monitor import monitor_energy
from pbkd.energy.phases import PhaseClock


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
            worker = _fork_server().Process(target=burn, args=(0.3,))
            worker.start()
            worker.join()
    assert clock.results[0].cpu_seconds >= 0.29
