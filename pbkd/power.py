"""What a run draws while it runs: the watts of every domain that is metered, every few seconds."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pbkd.background import beside
from pbkd.errors import PbkdError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from pbkd.energy import EnergyMonitor
    from pbkd.journal import Event

__all__ = ["power_told"]

_EVERY = 5.0  # seconds


@contextmanager
def power_told(monitor: EnergyMonitor, tell: Callable[[Event], None]) -> Iterator[None]:
    """Tell of the power during the context, from a thread, as long as anything measures it."""

    def watch(stop: threading.Event) -> None:
        # A run does not end for want of these: what ends it is told where it matters.
        with suppress(PbkdError, OSError):
            for watts in monitor.power(_EVERY, stop):
                if not watts:
                    return
                tell({"event": "power", "watts": watts})

    with beside(watch, "pbkd-power"):
        yield
