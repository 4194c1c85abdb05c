"""The largest resident memory of this process since a moment."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["peak_memory", "reset_peak_memory"]

_PROCESS = Path("/proc/self")


def reset_peak_memory() -> None:
    """Start anew; without effect where the system has no such thing (see proc(5), clear_refs)."""
    try:
        (_PROCESS / "clear_refs").write_text("5")
    except OSError:
        return


def peak_memory() -> int | None:
    """Return the peak in bytes, or None where the system does not tell it."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text())
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None
