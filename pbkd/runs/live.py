"""The state of a run in progress, computed from its events for `pbkd run` and `pbkd watch`."""

from __future__ import annotations

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
from pbkd.runs.live_job import LiveJob

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.core.events import Event, PlannedJob


__all__ = ["Lane", "LiveRun", "worker_lanes"]

_PLANNED = "teacher-fed"


@dataclass
class Lane:
    """One row of the live view: a worker, its current job, and its bar.

    Attributes:
        worker: The rank; None for the host.
        job: The current job, if any.
        loss: Mean of the latest losses of the job's blocks.
        bar: The worker's jobs as pairs of planned seconds and the share that is done.
        seconds_left: Estimated time to the end of the worker's last job.
    """

    worker: int | None
    job: LiveJob | None
    loss: float | None
    bar: list[tuple[float, float]]
    seconds_left: float | None


@dataclass(kw_only=True)
class LiveRun:
    """The state of a run after the events that `see` was called with, in order of time.

    Attributes:
        phase: The current phase; None before the first.
        began: When the phase began, in seconds since 1970.
        totals: Epochs of all trainings, by phase.
        epochs: Epochs of each training, by phase.
        planned: Planned jobs of the teacher-fed phase, by rank.
        jobs: Current jobs by rank (None: the host).
        reached: The last epoch of each (phase, candidate).
        losses: Its mean loss.
        watts: Power by domain.
    """

    phase: str | None = None
    began: float = 0.0
    totals: Mapping[str, int] = field(default_factory=dict)
    epochs: Mapping[str, int] = field(default_factory=dict)
    planned: dict[int, Sequence[PlannedJob]] = field(default_factory=dict)
    jobs: dict[int | None, LiveJob] = field(default_factory=dict)
    reached: dict[tuple[str, str], int] = field(default_factory=dict)
    losses: dict[tuple[str, str], float] = field(default_factory=dict)
    watts: Mapping[str, float] = field(default_factory=dict)

    def see(self, event: Event) -> None:
        """Update the state by an event; events without progress are ignored."""
        match event:
            case PlanMade():
                self.totals, self.epochs, self.jobs = event.totals, event.epochs, {}
                ranks = [worker.rank for worker in event.workers]
                self.planned = dict(zip(ranks, event.lanes, strict=False))
            case PhaseStarted():
                self.phase, self.began, self.jobs = event.phase, event.time, {}
            case JobStarted(blocks=()):  # it was resumed after its last epoch
                self.jobs.pop(event.worker, None)
            case JobStarted():
                self.jobs[event.worker] = LiveJob.of(event)
            case StepsDone():
                job = self.jobs.get(event.worker)
                if job and job.phase == event.phase:
                    job.count(event.time, event.steps)
            case EpochDone():
                self._epoch(event)
            case BlockTrained():
                self._block(event)
            case PowerRead():
                self.watts = event.watts

    def done(self, phase: str) -> int:
        """Return how many epochs of a phase are done, summed over its candidates."""
        return sum(epoch for (other, _), epoch in self.reached.items() if other == phase)

    def _epoch(self, event: EpochDone) -> None:
        self.reached[event.phase, event.block] = event.epoch
        self.losses[event.phase, event.block] = event.loss
        for job in self.jobs.values():  # workers that share a job train the same blocks
            if job.phase == event.phase and event.block in job.blocks:
                job.count(event.time, event.epoch * job.steps)

    def _block(self, event: BlockTrained) -> None:
        """Count a block as done, even if it failed; a worker without further blocks is free."""
        self.reached[event.phase, event.block] = self.epochs.get(event.phase, len(event.losses))
        for worker, job in list(self.jobs.items()):
            if job.phase == event.phase:
                job.blocks = tuple(name for name in job.blocks if name != event.block)
                if not job.blocks:
                    del self.jobs[worker]


def worker_lanes(run: LiveRun, now: float) -> list[Lane]:
    """Return a row for each worker at `now`; only the host's while it trains itself."""
    shares = _shares(run)
    workers = [None] if None in run.jobs else [*run.planned]
    return [_lane(run, worker, shares, now) for worker in workers]


def _lane(run: LiveRun, worker: int | None, shares: Mapping[str, float], now: float) -> Lane:
    job = run.jobs.get(worker)
    planned: Sequence[PlannedJob] = ()
    if run.phase == _PLANNED and worker is not None:
        planned = run.planned.get(worker, ())
    bar = [
        (each.seconds, _mean([shares.get(name, 0.0) for name in each.blocks]) or 0.0)
        for each in planned
    ]
    if job is None:
        return Lane(worker, None, None, bar, None)
    if not bar and job.total:
        bar = [(1.0, job.share)]
    keys = [(job.phase, name) for name in job.blocks]
    loss = _mean([run.losses[key] for key in keys if key in run.losses])
    return Lane(worker, job, loss, bar, _seconds_left(job, planned, shares, now))


def _shares(run: LiveRun) -> dict[str, float]:
    """Return the share that is done of each begun block of the planned phase."""
    epochs = run.epochs.get(_PLANNED) or 1
    reached: dict[str, list[float]] = {}
    for (phase, name), epoch in run.reached.items():
        if phase == _PLANNED:
            reached.setdefault(candidate_of(name)[0], []).append(epoch / epochs)
    shares = {block: sum(some) / len(some) for block, some in reached.items()}
    for job in run.jobs.values():
        shares |= dict.fromkeys((candidate_of(name)[0] for name in job.blocks), job.share)
    return shares


def _seconds_left(
    job: LiveJob, planned: Sequence[PlannedJob], shares: Mapping[str, float], now: float
) -> float | None:
    """Estimate the rest of the current job, and of the waiting ones at its speed."""
    left = job.seconds_left(now)
    if left is None or job.step_seconds is None:
        return None
    current = {candidate_of(name)[0] for name in job.blocks}
    predicted = sum(other.seconds for other in planned if current & set(other.blocks))
    slowdown = job.total * job.step_seconds / predicted if predicted else 1.0
    waiting = (other.seconds for other in planned if not shares.keys() & set(other.blocks))
    return left + slowdown * sum(waiting)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
