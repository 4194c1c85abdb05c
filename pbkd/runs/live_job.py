"""The job that a worker is training, with its speed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbkd.core.events import JobStarted


__all__ = ["LiveJob"]

_MOST_COUNTS = 6  # the speed is taken over this many step counts


@dataclass(kw_only=True)
class LiveJob:
    """A job in progress.

    Attributes:
        phase: The phase.
        blocks: The candidates of the job that are not finished.
        epochs: Epochs of the job.
        steps: Steps of an epoch.
        images: Images of a step.
        counts: The latest pairs of a time and the steps done by then, counted from the first epoch.
    """

    phase: str
    blocks: tuple[str, ...]
    epochs: int
    steps: int
    images: int
    counts: deque[tuple[float, int]]

    @classmethod
    def of(cls, event: JobStarted) -> LiveJob:
        """Return the job that an event starts."""
        return cls(
            phase=event.phase,
            blocks=event.blocks,
            epochs=event.epochs,
            steps=event.steps,
            images=event.images,
            counts=deque([(event.time, event.begun * event.steps)], maxlen=_MOST_COUNTS),
        )

    @property
    def total(self) -> int:
        """Steps of the whole job."""
        return self.epochs * self.steps

    @property
    def done(self) -> int:
        """Steps done."""
        return min(self.total, self.counts[-1][1])

    @property
    def share(self) -> float:
        """Share of the job that is done."""
        return self.done / max(1, self.total)

    @property
    def epoch(self) -> int:
        """The current epoch, from 1."""
        return min(self.epochs, self.done // max(1, self.steps) + 1)

    @property
    def step_seconds(self) -> float | None:
        """Seconds of a step; None until two counts are known."""
        (start, before), (end, after) = self.counts[0], self.counts[-1]
        return (end - start) / (after - before) if after > before and end > start else None

    @property
    def images_per_second(self) -> float | None:
        """Throughput; None until two counts are known."""
        return self.images / self.step_seconds if self.step_seconds else None

    def seconds_left(self, now: float) -> float | None:
        """Return the estimated time to the end of the job at `now`, in seconds since 1970."""
        if self.step_seconds is None:
            return None
        since = now - self.counts[-1][0]
        return max(0.0, (self.total - self.done) * self.step_seconds - since)

    def count(self, time: float, done: int) -> None:
        """Note that `done` steps were done at `time`, unless more are known to be done."""
        if done > self.counts[-1][1]:
            self.counts.append((time, done))
