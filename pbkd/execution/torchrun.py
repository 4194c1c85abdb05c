"""Environment variables by which torchrun's processes know their launch."""

from __future__ import annotations

import os

__all__ = [
    "LAUNCH_ID",
    "launch_name",
    "on_one_machine",
    "restart_count",
    "store_key",
    "under_torchrun",
]

LAUNCH_ID = "PBKD_LAUNCH_ID"
"""Variable that identifies one start of all processes; torch's store may outlive several."""


def under_torchrun() -> bool:
    """Tell whether torchrun started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def on_one_machine() -> bool:
    """Tell whether all processes that torchrun started are on this machine."""
    world_size = os.environ.get("WORLD_SIZE", "1")
    return os.environ.get("LOCAL_WORLD_SIZE", world_size) == world_size


def launch_name() -> str:
    """Return what all processes that torchrun started together have in common."""
    run, world_size = os.environ.get("TORCHELASTIC_RUN_ID", ""), os.environ.get("WORLD_SIZE", "1")
    return f"{run}, {world_size} processes"


def store_key(name: str) -> str:
    """Return a key for torch's store that no other start of the same processes uses.

    The number of restarts tells apart the starts of a single process only: torchrun does not count
    a restart because machines join, and so counts otherwise on each machine.
    """
    start = os.environ.get(LAUNCH_ID) or restart_count()
    return f"pbkd/{start}/{name}"


def restart_count() -> int:
    """Return how often torchrun has restarted its processes on this machine after a failure."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
