"""The processes of a command that can be killed."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.soak.preloaded import FORK_SERVER, RESOURCE_TRACKER
from tests.soak.processes import processes_of_session

if TYPE_CHECKING:
    import random
    from signal import Signals

    from tests.soak.preloaded import Command

__all__ = ["strike", "victims_of"]

_PATIENCE = 3.0  # seconds


def strike(command: Command, victim: str, signal: Signals, chance: random.Random) -> int | None:
    """Send a signal, as soon as there is a victim of that name within 3 seconds.

    Args:
        command: The command.
        victim: `worker`, `host`, `fork server`, `resource tracker`, or `group` for all of them.
        signal: The signal.
        chance: Chooses one of several.

    Returns:
        The process id; None if there is no such victim.
    """
    end = time.monotonic() + _PATIENCE
    while not (found := victims_of(command, victim)):
        if time.monotonic() > end:
            return None
        time.sleep(0.005)
    struck = chance.choice(found)
    with suppress(ProcessLookupError):
        (os.killpg if victim == "group" else os.kill)(struck, signal)
    return struck


def victims_of(command: Command, victim: str) -> list[int]:
    """Return the ids of the processes that a victim's name stands for."""
    if victim in ("host", "group"):
        return [command.pid]
    processes = processes_of_session(command.pid)
    begun = {
        name: [p.pid for p in processes if p.name == name and p.parent == command.pid]
        for name in (FORK_SERVER, RESOURCE_TRACKER)
    }
    if victim == "resource tracker":
        return begun[RESOURCE_TRACKER]
    servers = begun[FORK_SERVER]
    if victim == "fork server":
        return servers
    return [p.pid for p in processes if p.parent in servers]
