"""How far a run is, worked out from its events: what `pbkd run` and `pbkd watch` show."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pbkd.core.blocks import candidate_of
from pbkd.core.events import (
    BlockTrained,
    EpochDone,
    JobStarted,
    PhaseStarted,
    PlanMade,
    PowerRead,
    StepsDone,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.core.events import Event


__all__ = ["Doing", "Lane", "LiveRun"]

_PLANNED = "teacher-fed"
_PACES = 6  # by so many times and counts of steps a worker's speed is known


@dataclass
class Doing:
    """The job that a worker has in hand: its phase, its blocks, its epochs of so many steps.

    `images` are those of a step. `paces` are the last pairs of a time and of how many steps, from
    the first epoch on, were done by then.
    """

    phase: str
    blocks: tuple[str, ...]
    epochs: int
    steps: int
    images: int
    paces: deque[tuple[float, int]]

    @property
    def total(self) -> int:
        """How many steps the job has."""
        return self.epochs * self.steps

    @property
    def done(self) -> int:
        """How many steps are known to be done."""
        return min(self.total, self.paces[-1][1])

    @property
    def epoch(self) -> int:
        """Which epoch it is in, from 1 on."""
        return min(self.epochs, self.done // max(1, self.steps) + 1)

    @property
    def step_seconds(self) -> float | None:
        """What a step takes; None before that is known."""
        (start, before), (end, after) = self.paces[0], self.paces[-1]
        return (end - start) / (after - before) if after > before and end > start else None

    @property
    def images_per_second(self) -> float | None:
        """How many images go through the job in a second; None before that is known."""
        return self.images / self.step_seconds if self.step_seconds else None

    def step(self, time: float, done: int) -> None:
        """Take in that so many steps were done at a time (seconds since the epoch)."""
        if done > self.paces[-1][1]:
            self.paces.append((time, done))


@dataclass
class Lane:
    """What a worker shows: what it does, and its jobs as (seconds, share that is done).

    Seconds are those of the plan. `worker` is None for the host.
    """

    worker: int | None
    doing: Doing | None
    loss: float | None
    jobs: list[tuple[float, float]]
    seconds_left: float | None


@dataclass
class LiveRun:
    """The state of a run. `see` takes in its events, in the order of time, as plain data.

    `phase` is None before the first one; `began` is when it began, in seconds since the epoch.
    `reached` has the last epoch of each (phase, candidate), `losses` its mean loss.
    """

    phase: str | None = None
    began: float = 0.0
    totals: dict[str, int] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    workers: list[int] = field(default_factory=list)
    planned: list[list[tuple[tuple[str, ...], float]]] = field(default_factory=list)
    doing: dict[int | None, Doing] = field(default_factory=dict)
    reached: dict[tuple[str, str], int] = field(default_factory=dict)
    losses: dict[tuple[str, str], float] = field(default_factory=dict)
    watts: dict[str, float] = field(default_factory=dict)

    def see(self, event: Event) -> None:
        """Take in one event; those of kinds that say nothing of progress are passed over."""
        match event:
            case PlanMade():
                self._plan(event)
            case PhaseStarted():
                self.phase, self.began, self.doing = event.phase, event.time, {}
            case JobStarted():
                self._job(event)
            case StepsDone():
                self._steps(event)
            case EpochDone():
                self._epoch(event)
            case BlockTrained():
                self._block(event)
            case PowerRead():
                self.watts = dict(event.watts)

    def done(self, phase: str) -> int:
        """How many epochs of a phase are done, those of every block counted."""
        return sum(epoch for (of, _), epoch in self.reached.items() if of == phase)

    def lanes(self, now: float) -> list[Lane]:
        """Return what each worker shows at a time; the host where it trains itself."""
        shares = self._shares()
        workers = [None] if None in self.doing else self.workers
        return [self._lane(worker, shares, now) for worker in workers]

    def _plan(self, event: PlanMade) -> None:
        self.totals, self.epochs = dict(event.totals), dict(event.epochs)
        self.workers = [worker.rank for worker in event.workers]
        self.planned = [[(job.blocks, job.seconds) for job in lane] for lane in event.lanes]
        self.doing = {}

    def _job(self, event: JobStarted) -> None:
        if not event.blocks:  # it was resumed after its last epoch
            self.doing.pop(event.worker, None)
            return
        begun = event.begun * event.steps
        self.doing[event.worker] = Doing(
            event.phase,
            event.blocks,
            event.epochs,
            event.steps,
            event.images,
            deque([(event.time, begun)], maxlen=_PACES),
        )

    def _steps(self, event: StepsDone) -> None:
        doing = self.doing.get(event.worker)
        if doing and doing.phase == event.phase:
            doing.step(event.time, event.steps)

    def _epoch(self, event: EpochDone) -> None:
        phase, block = event.phase, event.block
        self.reached[phase, block] = event.epoch
        self.losses[phase, block] = event.loss
        for doing in self.doing.values():  # workers that share a job have the same block in hand
            if doing.phase == phase and block in doing.blocks:
                doing.step(event.time, event.epoch * doing.steps)

    def _block(self, event: BlockTrained) -> None:
        """Count a block as done, also one that failed; a worker without others is free."""
        phase, block = event.phase, event.block
        self.reached[phase, block] = self.epochs.get(phase, len(event.losses))
        for worker, doing in list(self.doing.items()):
            if doing.phase == phase:
                doing.blocks = tuple(name for name in doing.blocks if name != block)
                if not doing.blocks:
                    del self.doing[worker]

    def _lane(self, worker: int | None, shares: Mapping[str, float], now: float) -> Lane:
        doing = self.doing.get(worker)
        losses = [
            self.losses[doing.phase, name]
            for name in (doing.blocks if doing else ())
            if doing and (doing.phase, name) in self.losses
        ]
        planned = self._planned_for(worker)
        jobs = [
            (seconds, _mean([shares.get(name, 0.0) for name in blocks]) or 0.0)
            for blocks, seconds in planned
        ]
        if not jobs and doing and doing.total:
            jobs = [(1.0, doing.done / doing.total)]
        left = None if doing is None else self._seconds_left(doing, planned, shares, now)
        return Lane(worker, doing, _mean(losses), jobs, left)

    def _planned_for(self, worker: int | None) -> list[tuple[tuple[str, ...], float]]:
        """Return a worker's jobs in the phase that was planned; nothing in another one."""
        if self.phase != _PLANNED or worker is None:
            return []
        return dict(zip(self.workers, self.planned, strict=False)).get(worker, [])

    def _shares(self) -> dict[str, float]:
        """Return how much is done of each block in the phase that was planned, if it has begun."""
        epochs = self.epochs.get(_PLANNED) or 1
        reached: dict[str, list[float]] = {}
        for (phase, name), epoch in self.reached.items():
            if phase == _PLANNED:
                reached.setdefault(candidate_of(name)[0], []).append(epoch / epochs)
        shares = {block: sum(some) / len(some) for block, some in reached.items()}
        for doing in self.doing.values():
            share = doing.done / max(1, doing.total)
            shares |= dict.fromkeys((candidate_of(name)[0] for name in doing.blocks), share)
        return shares

    def _seconds_left(
        self,
        doing: Doing,
        planned: Sequence[tuple[tuple[str, ...], float]],
        shares: Mapping[str, float],
        now: float,
    ) -> float | None:
        """Return what is left of the job in hand, and of planned ones at the speed of that."""
        if doing.step_seconds is None:
            return None
        since = now - doing.paces[-1][0]
        left = max(0.0, (doing.total - doing.done) * doing.step_seconds - since)
        own = {candidate_of(name)[0] for name in doing.blocks}
        guess = sum(seconds for blocks, seconds in planned if own & set(blocks))
        slower = doing.total * doing.step_seconds / guess if guess else 1.0
        waiting = (seconds for blocks, seconds in planned if not shares.keys() & set(blocks))
        return left + slower * sum(waiting)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
