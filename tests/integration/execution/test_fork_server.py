"""The processes by which `multiprocessing` starts workers are killed, in the midst of a run."""

from __future__ import annotations

import random
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pbkd.core.events import Restarted
from pbkd.runs.events import read_events
from pbkd.runs.folder import newest_run
from tests.integration.test_kill import await_epoch
from tests.soak.attempt import wait_until
from tests.soak.short_run import digests, tiny_settings
from tests.soak.victims import strike

if TYPE_CHECKING:
    from tests.soak.attempt import Undisturbed
    from tests.soak.preloaded import Preloaded


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short path, as sockets need it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_a_run_goes_on_without_its_fork_server_and_tracker(
    preloaded: Preloaded, tiny: Undisturbed, place: Path
) -> None:
    changes = ["workers=2", "scheduler=pipeline"]
    command = preloaded.start(place / "1", ["run", "--json", *tiny_settings(place), *changes])
    chance = random.Random(0)
    for victim, phase in [
        ("fork server", "teacher-fed"),
        ("resource tracker", "teacher-fed"),
        ("fork server", "student-fed"),
    ]:
        await_epoch(command, phase)
        assert strike(command, victim, signal.SIGKILL, chance)
    wait_until(lambda: preloaded.poll(command) is not None, "the run ends")
    assert preloaded.poll(command) == 0, command.err
    folder = newest_run(place)
    assert digests(folder) == tiny.weights
    reasons = [event.reason for event in read_events(folder) if isinstance(event, Restarted)]
    assert len(reasons) in (1, 2)  # the last one may come when the phase has just ended
    assert all("fork server was killed" in reason for reason in reasons)
    # Python itself may warn, in two lines, that it starts its resource tracker again.
    lines = command.err.splitlines()
    assert not [line for line in lines if not re.search(r"resource_tracker|warnings\.warn", line)]
