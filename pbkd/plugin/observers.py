"""The observers of a run: each follows it from a thread of its own, for which nothing waits."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pbkd.config.options import named_choice
from pbkd.core.events import Note, PlanMade, RunFinished
from pbkd.plugin.observer_thread import ObserverThread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pbkd.core.events import Emit, Event
    from pbkd.core.results import BlockResult, RunResult
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Observer, RunInfo


__all__ = ["Observers", "create_observers", "observing"]

_BUSY = 1.0  # CPU seconds of an observer that are worth a note
_SWITCH_SECONDS = 5e-4
"""Longest time that a thread keeps Python's lock while others wait for it. With the usual 5 ms, a
training step takes four times as long beside an observer that computes, with this twice as long."""
_NOTICE, _BACKLOG, _LIMIT = 2.0, 10.0, 30.0
"""Seconds after a run: until it says for whom it waits, drops their events, leaves them behind."""


def create_observers(registry: Registry, choices: Sequence[Any]) -> list[Observer]:
    """Create the observers that a configuration names, with their options.

    Args:
        registry: The plugins.
        choices: Names, or mappings of a `name` and options.

    Raises:
        UnknownNameError: A name is not registered.
        ConfigError: An option is invalid.
    """
    return [
        registry.create("observer", named_choice(choice), f"observers.{index}")
        for index, choice in enumerate(choices)
    ]


class Observers:
    """Passes on to the observers what happens in a run."""

    def __init__(self, observers: Sequence[Observer], emit: Emit) -> None:
        """Prepare a thread for each observer; failures are emitted as notes."""
        self._emit = emit
        self._threads = [ObserverThread(one, self._note) for one in observers]
        self._begin = time.monotonic()

    @property
    def notes(self) -> tuple[str, ...]:
        """What has failed so far, and who has taken much processor time, a sentence each."""
        busy = [
            f"{_title(thread)} has computed for {seconds:.1f} s, beside the run: joules include it."
            for thread in self._threads
            if (seconds := thread.cpu_seconds) > max(_BUSY, 0.01 * self._seconds())
        ]
        return (*(note for thread in self._threads for note in thread.notes), *busy)

    def cpu_seconds(self) -> float:
        """Return the CPU time of all threads so far."""
        return sum(thread.cpu_seconds for thread in self._threads)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Begin no call within the context, such as a measurement of latency."""
        for thread in self._threads:
            thread.pause(is_paused=True)
        try:
            yield
        finally:
            for thread in self._threads:
                thread.pause(is_paused=False)

    def run_started(self, run: RunInfo) -> None:
        """Start the threads, with `run_started` and the events that came before."""
        self._begin = time.monotonic()
        for thread in self._threads:
            thread.start(run)

    def event(self, event: Event) -> None:
        """Pass on an event."""
        if isinstance(event, RunFinished):  # whose result `run_finished` gets
            return
        if isinstance(event, PlanMade):
            event = replace(event, plan=None)
        for thread in self._threads:
            thread.put("event", event)

    def block_finished(self, result: BlockResult) -> None:
        """Pass on the result of a candidate."""
        for thread in self._threads:
            thread.put("block_finished", result)

    def run_finished(self, result: RunResult) -> None:
        """Pass on the result of the run, wait for the observers, and note what they missed."""
        start = time.monotonic()
        for thread in self._threads:
            thread.put("run_finished", result)
            thread.close()
        for thread in self._waiting(start + _NOTICE):
            self._note(f"Waiting at most {_LIMIT:g} s for {thread.title}.")
        for thread in self._waiting(start + _BACKLOG):
            thread.drop_events()
        late = self._waiting(start + _LIMIT)
        for thread in self._threads:
            method = thread.method
            thread.abandon()
            if thread in late:
                self._note(f"{_title(thread)} did not end in {_LIMIT:g} s: it is in {method}.")
            if thread.missed:
                self._note(f"{_title(thread)} was slow: it missed {thread.missed} event(s).")

    def stop(self) -> None:
        """End the threads without waiting for them; nothing is passed on any more."""
        for thread in self._threads:
            thread.abandon()

    def _waiting(self, deadline: float) -> list[ObserverThread]:
        """Return the threads that have not ended at a time of `time.monotonic`."""
        return [thread for thread in self._threads if not thread.wait_until(deadline)]

    def _seconds(self) -> float:
        return time.monotonic() - self._begin

    def _note(self, text: str) -> None:
        self._emit(Note(text=text))


@contextmanager
def observing(observers: Sequence[Observer], emit: Emit) -> Iterator[Observers]:
    """Yield what passes a run on to its observers, and end their threads at the end.

    Args:
        observers: The observers.
        emit: Gets a note on each failure, perhaps from an observer's thread.
    """
    group = Observers(observers, emit)
    before = sys.getswitchinterval()
    if observers:
        sys.setswitchinterval(min(before, _SWITCH_SECONDS))
    try:
        yield group
    finally:
        group.stop()
        sys.setswitchinterval(before)


def _title(thread: ObserverThread) -> str:
    return f"{thread.title[0].upper()}{thread.title[1:]}"
