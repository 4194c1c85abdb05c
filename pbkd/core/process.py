"""This process: torch's CPU threads, freed memory, background threads and CPU time."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


__all__ = [
    "background_thread",
    "cpu_seconds",
    "keep_freed_memory",
    "release_freed_memory",
    "thread_count",
]

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Set the number of torch's CPU threads within the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> bool:
    """Make glibc keep large freed blocks for later allocations.

    By default it returns them to the operating system, and the next training step pays for a page
    fault on each of their pages: 5 to 8 % of a VGG-16's step.

    Returns:
        Whether this system's C library supports the setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    unlimited = 2**31 - 1
    settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: unlimited, _M_TOP_PAD: 64 * 2**20}
    results = [mallopt(key, value) for key, value in settings.items()]
    return results == [1] * len(settings)


def release_freed_memory() -> None:
    """Return freed memory to the operating system, if this system's C library can."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


@contextmanager
def background_thread(work: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """Run a function in a daemon thread for as long as the context lasts.

    Args:
        work: The function. It must return soon after its argument, an event, is set; the context
            waits for it.
        name: Name of the thread.
    """
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def cpu_seconds() -> float:
    """Return the CPU time, in seconds, of this process and its descendants since they started.

    Descendants that have ended are included, but not on macOS and Windows, which keep no record of
    them.
    """
    times = os.times()
    total = time.process_time() + times.children_user + times.children_system
    # Parents come before their children: one that ends meanwhile is missed, not counted twice.
    for process in psutil.Process().children(recursive=True):
        try:
            total += sum(process.cpu_times()[:4])  # user, system, and the same of its children
        except psutil.Error:
            continue
    return total
