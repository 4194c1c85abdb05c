"""A constant learning rate, by default without a warm-up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pbkd import hookimpl
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from pbkd.protocols import LearningRateSchedule

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class Constant:
    """The peak learning rate, by default from the first step on.

    Args:
        warmup: Share of the steps in which the rate rises to its peak, between 0 and 1.
    """

    name: ClassVar[str] = "constant"
    warmup: float = 0.0

    def __post_init__(self) -> None:
        """Check the share."""
        if not 0 <= self.warmup <= 1:
            raise ConfigError(f"warmup is {self.warmup}, but must be a share between 0 and 1.")

    def factor(self, step: int, steps: int) -> float:
        """Return the factor of the peak learning rate."""
        return min(1.0, (step + 1) / max(1, int(steps * self.warmup)))


@hookimpl
def register_lr_schedules() -> list[type[LearningRateSchedule]]:
    """Register the schedule `constant`."""
    return [Constant]
