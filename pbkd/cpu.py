"""CPU seconds of this process and of all that it started."""

from __future__ import annotations

import os
import time

import psutil

__all__ = ["cpu_seconds"]


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its descendants, ended ones included.

    Workers are forks of a server, which is a process of its own: they count while they run, and
    through it once they have ended. On systems that keep no times of ended children (macOS,
    Windows) those of a worker are gone with it.
    """
    own = os.times()
    total = time.process_time() + own.children_user + own.children_system
    # Parents come before their children: one that ends meanwhile is missed, not counted twice.
    for process in psutil.Process().children(recursive=True):
        try:
            total += sum(process.cpu_times()[:4])  # its own, user and system, and its children's
        except psutil.Error:
            continue
    return total
