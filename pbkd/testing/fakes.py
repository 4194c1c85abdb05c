"""A clock and an energy meter that tests control."""

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
    """A clock that only advances when a test advances it.

    `monkeypatch.setattr(time, "monotonic", clock)` replaces the real clock.

    Attributes:
        seconds: The current time, which a call returns.
    """

    seconds: float = 0.0

    def __call__(self) -> float:
        """Return the current time in seconds."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Advance the clock."""
        self.seconds += seconds


@dataclass
class FakeMeter:
    """An energy meter whose readings and faults a test sets.

    Attributes:
        joules: Cumulative joules by domain, for the next reading.
        lost: Lost domains with reasons, for the next reading.
        unavailable: Exception that `open` raises.
        failure: Exception that a reading raises.
        close_failure: Exception that closing raises.
        release: Event that every reading waits for.
        reads: Thread identifier of every reading.
        closed: Whether the meter has been closed.
        devices: Device of each domain, for every reading.
        estimates: Estimated domains, for every reading.
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
        """Open the meter and yield its read function."""
        if self.unavailable is not None:
            raise self.unavailable
        try:
            yield self.read
        finally:
            self.closed = True
            if self.close_failure is not None:
                raise self.close_failure

    def read(self) -> EnergyReading:
        """Return the current reading."""
        self.reads.append(threading.get_ident())
        if self.release is not None:
            self.release.wait()
        if self.failure is not None:
            raise self.failure
        return EnergyReading(self.joules, self.lost, self.devices, self.estimates)
