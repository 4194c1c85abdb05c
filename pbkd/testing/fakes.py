"""A clock and an energy meter that only move when a test moves them."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from pbkd.protocols import EnergyReading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["FakeClock", "FakeMeter"]


@dataclass
class FakeClock:
    """Stands still at `seconds` until it is advanced; called, as `time.monotonic`, it tells them.

    `monkeypatch.setattr(time, "monotonic", clock)` puts it in the place of the real one.
    """

    seconds: float = 0.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.seconds += seconds


@dataclass
class FakeMeter:
    """Gives the `joules` and the `lost` domains that a test sets, and has the faults it asks for.

    `unavailable` is raised by opening, `failure` by reading, `close_failure` by closing; a reading
    waits for `release`. `devices` and `estimates` go into every reading. `reads` has the thread of
    each.
    """

    name: ClassVar[str] = "fake"
    joules: dict[str, float] = field(default_factory=lambda: {"gpu0": 10.0})
    lost: dict[str, str] = field(default_factory=dict)
    unavailable: Exception | None = None
    failure: Exception | None = None
    close_failure: Exception | None = None
    release: threading.Event | None = None
    reads: list[int] = field(default_factory=list)
    closed: bool = False
    devices: dict[str, str] = field(default_factory=dict)
    estimates: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def open(self) -> Iterator[Callable[[], EnergyReading]]:
        """Give the function that reads; `closed` is True once the context is left."""
        if self.unavailable is not None:
            raise self.unavailable
        try:
            yield self.read
        finally:
            self.closed = True
            if self.close_failure is not None:
                raise self.close_failure

    def read(self) -> EnergyReading:
        """Return what the meter stands at."""
        self.reads.append(threading.get_ident())
        if self.release is not None:
            self.release.wait()
        if self.failure is not None:
            raise self.failure
        return EnergyReading(self.joules, self.lost, self.devices, self.estimates)
