"""The thread of one observer: it calls the observer's methods from a bounded backlog."""

from __future__ import annotations

import copy
import os
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from pbkd.core.events import PowerRead, StepsDone
from pbkd.plugin.attribution import describe_failure, describe_strategy
from pbkd.plugin.observer_methods import observed_methods

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbkd.protocols import Observer, RunInfo


__all__ = ["MOST_EVENTS", "ObserverThread"]

MOST_EVENTS = 1000
"""Events that the backlog holds; more would be news too old to be of use."""
_FREQUENT = (StepsDone, PowerRead)  # dropped first: each is soon followed by a newer one


class ObserverThread:
    """Calls the methods of one observer, one at a time, from a daemon thread.

    Attributes:
        notes: A sentence for each method that raised an exception.
        missed: Number of events that were dropped.
    """

    def __init__(self, observer: Observer, report: Callable[[str], None]) -> None:
        """Prepare the thread; `report` gets each note at once, from this thread."""
        self.title = describe_strategy("observer", observer)
        self.notes: list[str] = []
        self.missed = 0
        self._observer = observer
        self._methods = observed_methods(type(observer))
        self._report = report
        self._events = 0
        self._calls: deque[tuple[str, object]] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._is_paused = False
        self._method: str | None = None
        self._failed: set[str] = set()
        self._clock: int | None = None
        self._cpu_seconds = 0.0
        name = f"observer {observer.name}"
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    @property
    def method(self) -> str | None:
        """The method that is being called."""
        return self._method

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the thread so far, where the operating system counts it."""
        with self._changed:  # the clock must not be read after the thread has ended
            return self._cpu_seconds if self._clock is None else time.clock_gettime(self._clock)

    def start(self, run: RunInfo) -> None:
        """Begin with `run_started`; what was put before follows."""
        self._run = copy.deepcopy(run)
        if "run_started" in self._methods:
            self._calls.appendleft(("run_started", None))
        self._thread.start()

    def put(self, method: str, value: object) -> None:
        """Append a call to the backlog; it never waits for the observer.

        Args:
            method: Name of the method; nothing happens if the observer lacks it.
            value: Its first argument, of which the observer gets a copy.
        """
        if method not in self._methods:
            return
        with self._changed:
            if self._is_closed:
                return
            if method == "event":
                self._events += 1
                if self._events > MOST_EVENTS:
                    self._drop_one()
            self._calls.append((method, value))
            self._changed.notify()

    def close(self) -> None:
        """Take no more calls, and end when the backlog is empty."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def pause(self, *, is_paused: bool) -> None:
        """Begin no call while paused."""
        with self._changed:
            self._is_paused = is_paused
            self._changed.notify()

    def drop_events(self) -> None:
        """Drop the events of the backlog."""
        with self._changed:
            self.missed += self._events
            self._events = 0
            rest = [call for call in self._calls if call[0] != "event"]
            self._calls = deque(rest)

    def abandon(self) -> None:
        """End without any further call."""
        self.drop_events()
        with self._changed:
            self._calls.clear()
        self.close()

    def wait_until(self, deadline: float) -> bool:
        """Wait until `deadline` (of `time.monotonic`) for the end; return whether it came."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _drop_one(self) -> None:
        frequent = (i for i, (_, value) in enumerate(self._calls) if isinstance(value, _FREQUENT))
        events = (i for i, (method, _) in enumerate(self._calls) if method == "event")
        del self._calls[next(frequent, next(events))]
        self._events -= 1
        self.missed += 1

    def _serve(self) -> None:
        getclock = getattr(time, "pthread_getcpuclockid", None)  # not on macOS and Windows
        if getclock:
            self._clock = getclock(threading.get_ident())
        while call := self._next():
            self._call(*call)
        with self._changed:
            if self._clock is not None:
                self._cpu_seconds, self._clock = time.thread_time(), None

    def _next(self) -> tuple[str, object] | None:
        """Wait for a call, and take it; None at the end."""
        with self._changed:
            self._method = None
            self._changed.wait_for(self._is_ready)
            if not self._calls:
                return None
            self._method, value = self._calls.popleft()
            self._events -= self._method == "event"
            return self._method, value

    def _is_ready(self) -> bool:
        return self._is_closed or (bool(self._calls) and not self._is_paused)

    def _call(self, method: str, value: object) -> None:
        process = os.getpid()
        try:
            first = [] if value is None else [copy.deepcopy(value)]
            getattr(self._observer, method)(*first, self._run)
        except BaseException as error:
            if os.getpid() == process:
                self._note_failure(method, error)
        finally:
            if os.getpid() != process:
                os._exit(0)  # the observer has forked: only this thread exists in the child

    def _note_failure(self, method: str, error: BaseException) -> None:
        if method in self._failed:
            return
        self._failed.add(method)
        text = describe_failure("observer", self._observer, method, error)
        self.notes.append(f"{text[0].upper()}{text[1:]}.")
        with suppress(Exception):  # the run itself meets whatever is wrong with its output
            self._report(self.notes[-1])
