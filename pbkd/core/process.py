"""How many CPU threads torch computes with."""

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
    "give_back_memory",
    "keep_freed_memory",
    "thread_count",
]


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Give torch this many CPU threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# From glibc's malloc.h; see mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Make glibc keep large freed blocks; return whether this system's C library could be told.

    By default it gives them back to the system at once, which clears their pages anew, one page
    fault each, when the next step asks for as much: 5 to 8 % of a VGG-16's step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    most = 2**31 - 1
    settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: most, _M_TOP_PAD: 64 * 2**20}
    answers = [mallopt(key, value) for key, value in settings.items()]
    return answers == [1] * len(settings)


def give_back_memory() -> None:
    """Return what is kept to the system, where the C library can."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


@contextmanager
def background_thread(work: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """Run `work` in a thread until the context ends: then the event that it got is set.

    The context waits until `work` has returned.
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
