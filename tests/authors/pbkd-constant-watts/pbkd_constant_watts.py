"""Estimate energy as constant power times time."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pbkd import EnergyReading, hookimpl
from pbkd.errors import MeterUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class ConstantWatts:
    """Multiply the time by a power that the user knows from a plug-in meter.

    Args:
        watts: The power.
    """

    name: ClassVar[str] = "constant-watts"
    watts: float = 60.0

    @contextmanager
    def open(self) -> Iterator[Callable[[], EnergyReading]]:
        """Start the clock."""
        if self.watts <= 0:
            raise MeterUnavailableError(f"constant-watts has {self.watts} W: set meters.watts.")
        begin = time.monotonic()

        def read() -> EnergyReading:
            joules = self.watts * (time.monotonic() - begin)
            estimates = {"machine-estimate": f"{self.watts:g} W at all times"}
            return EnergyReading({"machine-estimate": joules}, {}, estimates=estimates)

        yield read


@hookimpl
def register_meters() -> list[type[ConstantWatts]]:
    """Register the meter `constant-watts`."""
    return [ConstantWatts]
