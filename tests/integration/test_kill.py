"""Workers are killed, stopped, orphaned; the weights are those of an undisturbed run."""

from __future__ import annotations

import random
import re
import signal
import warnings
from pathlib import Path

import pytest

from pbkd.core.events import Restarted, WorkerLost
from pbkd.runs.events import read_events
from pbkd.runs.folder import newest_run
from tests.soak.attempt import Undisturbed, attempt, wait_until
from tests.soak.kill import kill
from tests.soak.moments import Moment
from tests.soak.preloaded import Command, Preloaded
from tests.soak.short_run import digests, tiny_settings
from tests.soak.victims import strike, victims_of

FEEDS = {
    "recompute": ["scheduler=round-robin"],
    "queue": ["scheduler=lpt-scheduler"],
    "relay": ["scheduler=pipeline"],
    "cache": ["scheduler=cached", "cache_gigabytes=1"],
}
CHANCE = random.Random(0)


def started(preloaded: Preloaded, place: Path, *changes: str) -> Command:
    return preloaded.start(place / "1", ["run", "--json", *tiny_settings(place), *changes])


def await_epoch(command: Command, phase: str) -> None:
    """Wait until a block has done an epoch of a phase."""
    mark = re.compile(rf'"event": "epoch".*"phase": "{phase}"')
    wait_until(lambda: mark.search(command.out), f"an epoch of {phase}", pause=0.002)


def ended(preloaded: Preloaded, command: Command) -> int | None:
    """Wait until a command has ended; return its exit code."""
    wait_until(lambda: preloaded.poll(command) is not None, "the run ends")
    return preloaded.poll(command)


@pytest.mark.parametrize(
    "feed",
    [pytest.param(f, marks=[pytest.mark.slow] if f != "recompute" else []) for f in FEEDS],
)
def test_killed_workers_change_nothing(
    feed: str, preloaded: Preloaded, tiny: Undisturbed, place: Path
) -> None:
    command = started(preloaded, place, *FEEDS[feed], "workers=2")
    for phase in ("teacher-fed", "student-fed"):
        await_epoch(command, phase)
        assert strike(command, "worker", signal.SIGKILL, CHANCE)
    assert ended(preloaded, command) == 0, command.err
    assert digests(newest_run(place)) == tiny.weights
    restarts = [e for e in read_events(newest_run(place)) if isinstance(e, Restarted)]
    assert len(restarts) == 2


def test_a_worker_that_hangs_is_killed_and_started_again(
    preloaded: Preloaded, tiny: Undisturbed, place: Path
) -> None:
    changes = ["workers=2", "scheduler=pipeline", "launcher.patience=2", "launcher.restarts=9"]
    command = started(preloaded, place, *changes)
    await_epoch(command, "teacher-fed")
    stopped = strike(command, "worker", signal.SIGSTOP, CHANCE)
    assert stopped
    assert ended(preloaded, command) == 0, command.err
    assert digests(newest_run(place)) == tiny.weights
    lost = [e for e in read_events(newest_run(place)) if isinstance(e, WorkerLost)]
    assert stopped in [event.pid for event in lost]
    assert all(event.silent_seconds > 2 for event in lost)


def test_workers_end_with_the_host_and_the_run_is_resumed(
    preloaded: Preloaded, tiny: Undisturbed, place: Path
) -> None:
    moment = Moment(
        seed=0,
        scheduler="pipeline",
        workers=2,
        phase="student-fed",
        share=0.7,
        victim="host",
        signal=signal.SIGKILL,
        resumed_by=1,
    )
    assert attempt(preloaded, moment, place, tiny) == "resumed"


def test_ctrl_c_stops_everything_and_says_how_to_go_on(preloaded: Preloaded, place: Path) -> None:
    command = started(preloaded, place, "workers=2", "scheduler=greedy", "distill.epochs=500")
    await_epoch(command, "teacher-fed")
    workers = victims_of(command, "worker")
    assert workers
    strike(command, "group", signal.SIGINT, CHANCE)
    assert ended(preloaded, command) == 130
    assert not set(workers) & set(victims_of(command, "worker"))
    # Once in a while the timer of torch's rendezvous is collected in its own thread, which Python
    # tells of on the lines below.
    first, *_ = command.err.splitlines()
    assert first == f"pbkd: stopped; go on with `pbkd run --resume {newest_run(place)}`."


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [0, 10, 20, 30])
def test_kills_at_drawn_moments_leave_nothing_and_change_nothing(
    preloaded: Preloaded, seed: int
) -> None:
    results = dict(kill(preloaded, count=10, seed=seed))
    faults = {moment: what for moment, what in results.items() if what.startswith("FAULT")}
    # When a signal arrives depends on what else the machine does: a fault that does not come again
    # is a warning, to be looked into with the script.
    for moment, what in faults.items():
        warnings.warn(f"{moment}: {what}", stacklevel=1)
    again = [dict(kill(preloaded, count=1, seed=moment.seed)) for moment in faults]
    assert [what for found in again for what in found.values() if what.startswith("FAULT")] == []
    assert len(faults) <= 1
    assert sum(what in ("went on", "resumed") for what in results.values()) >= 5
