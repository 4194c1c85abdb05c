"""What torchrun tells the processes that it starts, in their environment."""

from __future__ import annotations

import os

__all__ = ["MEETING", "meeting_key", "times_restarted", "under_torchrun"]

MEETING = "PBKD_MEETING"
"""A variable that tells one start of all processes from the next; torch's store may outlive it."""


def under_torchrun() -> bool:
    """Whether torchrun started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def meeting_key(name: str) -> str:
    """Return a name for torch's store that no other start of the same processes uses."""
    return f"pbkd/{os.environ.get(MEETING, '')}/{name}"


def times_restarted() -> int:
    """How often torchrun has started all its processes anew."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
