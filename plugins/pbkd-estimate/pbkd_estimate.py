"""An estimate of the CPU's energy: CPU seconds times a configured power."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pbkd import hookimpl
from pbkd.energy import cpu_seconds
from pbkd.errors import MeterUnavailableError
from pbkd.protocols import EnergyReading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pbkd.protocols import EnergyMeter

PBKD_CONTRACT = 2

_DOMAIN = "cpu-estimate"


@dataclass(frozen=True)
class EstimateMeter:
    """Multiply the CPU seconds of the run, workers included, by `watts`; nothing is measured.

    `watts` is the assumed power of one busy core: the joules per CPU second. Idle power, memory,
    GPUs and other programs are not included. The only domain is `cpu-estimate`.
    """

    name: ClassVar[str] = "estimate"
    watts: float = 0.0

    @contextmanager
    def open(self) -> Iterator[Callable[[], EnergyReading]]:
        """Start to count CPU seconds.

        Yields:
            A function that returns the reading since the meter was opened.

        Raises:
            MeterUnavailableError: `watts` is not set.
        """
        if not 0 < self.watts < math.inf:
            raise MeterUnavailableError(
                "nothing is estimated without being asked: state the watts of a busy core, as in"
                " meters='[{name: estimate, watts: 15}]'."
            )
        how = f"CPU seconds of the run and its workers x {self.watts:g} W, stated for a busy core"
        start, joules = cpu_seconds(), 0.0

        def read() -> EnergyReading:
            nonlocal joules
            joules = max(joules, self.watts * (cpu_seconds() - start))
            return EnergyReading({_DOMAIN: joules}, {}, {_DOMAIN: "cpu"}, {_DOMAIN: how})

        yield read


@hookimpl
def register_meters() -> list[type[EnergyMeter]]:
    """Register the meter `estimate`."""
    return [EstimateMeter]
