"""Learning rate schedules: a linear warm-up, then a cosine or a line to zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from pbkd import hookimpl
from pbkd.errors import ConfigError

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class _WarmedUp:
    """A linear warm-up to the peak, then a fall.

    Args:
        warmup: Share of the steps in which the rate rises to its peak, between 0 and 1.
    """

    warmup: float = 0.05

    def __post_init__(self) -> None:
        """Check the share."""
        if not 0 <= self.warmup <= 1:
            raise ConfigError(f"warmup is {self.warmup}, but must be a share between 0 and 1.")

    def factor(self, step: int, steps: int) -> float:
        """Return the factor of the peak learning rate."""
        rising = max(1, int(steps * self.warmup))
        if step < rising:
            return (step + 1) / rising
        return self._falling(step - rising, max(1, steps - rising))

    def _falling(self, step: int, steps: int) -> float:
        """Return the factor at a step after the warm-up, of `steps`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Cosine(_WarmedUp):
    """A linear warm-up, then a cosine to zero (Loshchilov and Hutter 2017, arXiv 1608.03983)."""

    name: ClassVar[str] = "cosine"

    def _falling(self, step: int, steps: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * step / steps))


@dataclass(frozen=True)
class Linear(_WarmedUp):
    """A linear warm-up, then a line to zero."""

    name: ClassVar[str] = "linear"

    def _falling(self, step: int, steps: int) -> float:
        return (steps - step) / steps


@hookimpl
def register_lr_schedules() -> list[type]:
    """Register the schedules `cosine` and `linear`."""
    return [Cosine, Linear]
