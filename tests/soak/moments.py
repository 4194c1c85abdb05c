"""Moments at which something of a run is killed, drawn with a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from signal import SIGINT, SIGKILL, SIGTERM, Signals
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PHASES", "VICTIMS", "WRITING", "Moment", "draw_moments"]

VICTIMS = ("worker", "host", "fork server", "resource tracker", "group")
TRAINING = ("teacher-fed", "student-fed")
WRITING = {"student": ("/student",), "report": ("result.json", "README.md", ".csv")}
"""What the host writes in a phase that has no event, by parts of the names of its files."""
PHASES = (
    "start-up", "planning", "teacher-fed", "scoring", "student-fed", "fine-tuning", "student",
    "evaluation", "report",
)  # fmt: skip
_SIGNALS = (SIGKILL, SIGTERM, SIGINT)
_WORKERS = (1, 2, 3)
_FILES = 8  # a phase of writing has about as many steps


@dataclass(frozen=True)
class Moment:
    """Who gets which signal when.

    Attributes:
        seed: What the moment was drawn with.
        scheduler: The run's scheduler.
        workers: The run's workers.
        phase: A phase of `PHASES`.
        share: How much of the phase is over, from 0 to 1.
        victim: One of `VICTIMS`.
        signal: What the victim gets.
        resumed_by: The workers that resume the run.
    """

    seed: int
    scheduler: str
    workers: int
    phase: str
    share: float
    victim: str
    signal: Signals
    resumed_by: int

    @property
    def file(self) -> int:
        """The step at which a phase of writing is interrupted."""
        return int(self.share * _FILES)

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.victim} gets {self.signal.name} {self.share:.0%} into"
            f" {self.phase} of {self.scheduler} by {self.workers}, resumed by {self.resumed_by}"
        )


def draw_moments(schedulers: Sequence[str], count: int, seed: int) -> list[Moment]:
    """Draw moments that share out schedulers, victims, signals and phases evenly.

    Args:
        schedulers: The schedulers to choose from.
        count: How many moments.
        seed: The seed of the first; each other has the next.
    """
    return [_moment(schedulers, seed + index) for index in range(count)]


def _moment(schedulers: Sequence[str], seed: int) -> Moment:
    """Count through victims and phases, and draw the rest."""
    chance = random.Random(seed)
    victim = VICTIMS[seed % len(VICTIMS)]
    round_ = seed // len(VICTIMS)
    workers = chance.choice(_WORKERS)
    if victim in ("host", "group"):
        phase = PHASES[round_ % len(PHASES)]
    else:
        workers = max(workers, 2)  # a single worker is the host
        phases = TRAINING if victim == "worker" else PHASES[2:]
        phase = phases[round_ % len(phases)]
    return Moment(
        seed=seed,
        scheduler=schedulers[(seed + round_) % len(schedulers)],
        workers=workers,
        phase=phase,
        share=chance.random(),
        victim=victim,
        signal=chance.choice(_SIGNALS),
        resumed_by=chance.choice((1, 1, *_WORKERS)),
    )
