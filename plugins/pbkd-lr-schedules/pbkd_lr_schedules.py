"""Learning rate schedules: a linear warm-up, then a cosine or a line to zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from pbkd import hookimpl
from pbkd.errors import ConfigError

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class Cosine:
    """A linear warm-up, then a cosine to zero (Loshchilov and Hutter 2017, arXiv 1608.03983).

    Args:
        warmup: Share of the steps in which the rate rises to its peak, between 0 and 1.
    """

    name: ClassVar[str] = "cosine"
    warmup: float = 0.05

    def __post_init__(self) -> None:
        """Check the share."""
        _check_share(self.warmup)

    def factor(self, step: int, steps: int) -> float:
        """Return the factor of the peak learning rate."""
        rising = _rising_steps(steps, self.warmup)
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


@dataclass(frozen=True)
class Linear:
    """A linear warm-up, then a line to zero.

    Args:
        warmup: Share of the steps in which the rate rises to its peak, between 0 and 1.
    """

    name: ClassVar[str] = "linear"
    warmup: float = 0.05

    def __post_init__(self) -> None:
        """Check the share."""
        _check_share(self.warmup)

    def factor(self, step: int, steps: int) -> float:
        """Return the factor of the peak learning rate."""
        rising = _rising_steps(steps, self.warmup)
        if step < rising:
            return (step + 1) / rising
        return (steps - step) / max(1, steps - rising)


def _rising_steps(steps: int, warmup: float) -> int:
    return max(1, int(steps * warmup))


def _check_share(warmup: float) -> None:
    if not 0 <= warmup <= 1:
        raise ConfigError(f"warmup is {warmup}, but must be a share between 0 and 1.")


@hookimpl
def register_lr_schedules() -> list[type]:
    """Register the schedules `cosine` and `linear`."""
    return [Cosine, Linear]
