"""The events of a run: what the host, the workers and the launchers report while it goes on.

Every process appends its events, as lines of JSON, to its own file in the run folder
(`pbkd.runs.events`); `pbkd run --json` prints the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import time as now
from typing import TYPE_CHECKING, TypeAlias

from pbkd.core.plain_data import IN_MEMORY

if TYPE_CHECKING:
    from pbkd.core.curves import CurveResult
    from pbkd.core.results import RunResult


__all__ = [
    "BlockScored", "BlockTrained", "CheckpointDamaged", "CostsChecked", "CurveFinished", "Emit",
    "EpochDone", "Event", "JobStarted", "Note", "PhaseStarted", "PlanMade", "PlannedJob",
    "PlannedWorker", "PowerRead", "Restarted", "Resumed", "RunFinished", "RunStopped", "StepsDone",
    "StepsTimed", "TeacherScored", "WorkerLost",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _TimedEvent:
    """`time` is when the event was made, in seconds since 1970."""

    time: float = field(default_factory=now)


@dataclass(frozen=True, kw_only=True)
class PhaseStarted(_TimedEvent):
    """A phase of the run begins, named as in the result's `phases`."""

    phase: str


@dataclass(frozen=True, kw_only=True)
class TeacherScored(_TimedEvent):
    """The teacher is loaded.

    `images` is the number of test images that it predicted (without labels, of all),
    `accuracy` the share of right ones (None without labels), `cut` the partitioner.
    """

    name: str
    images: int
    accuracy: float | None
    cut: str


@dataclass(frozen=True, kw_only=True)
class PlannedWorker:
    """A worker of the plan, and its torch device."""

    rank: int
    device: str


@dataclass(frozen=True, kw_only=True)
class PlannedJob:
    """A job of the plan: blocks that train together, and their predicted seconds."""

    blocks: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class PlanMade(_TimedEvent):
    """The run is planned.

    `blocks` are the candidates to train, `seconds` the predicted time of the teacher-fed phase
    without loading of images, `phases` the seconds of planning and those predicted for the others.
    By phase, `epochs` counts the epochs of each training and `totals` of all. `lanes` has the
    planned jobs of each worker. `plan` is the `pbkd.planning.plan.Plan` itself, only in the
    process that made it.
    """

    folder: str
    scheduler: str
    feed: str
    seconds: float
    workers: tuple[PlannedWorker, ...]
    blocks: tuple[str, ...]
    epochs: Mapping[str, int]
    totals: Mapping[str, int]
    lanes: tuple[tuple[PlannedJob, ...], ...]
    phases: Mapping[str, float] = field(default_factory=dict)
    plan: object = field(default=None, metadata=IN_MEMORY, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class JobStarted(_TimedEvent):
    """A worker (None: the host) begins a job after `begun` of its `epochs`.

    An epoch has `steps` steps of `images` images. `blocks` is empty if nothing was left to train.
    """

    worker: int | None
    phase: str
    blocks: tuple[str, ...]
    begun: int
    epochs: int
    steps: int
    images: int


@dataclass(frozen=True, kw_only=True)
class StepsDone(_TimedEvent):
    """A worker has done `steps` steps of its job, counted from the job's first epoch."""

    worker: int | None
    phase: str
    steps: int


@dataclass(frozen=True, kw_only=True)
class StepsTimed(_TimedEvent):
    """The median seconds of some first steps of a worker's job, on whole batches.

    `teacher` has the forward pass of each of the teacher's segments, `training` the training step
    of each candidate.
    """

    worker: int
    phase: str
    teacher: Mapping[str, float]
    training: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class CostsChecked(_TimedEvent):
    """The planned costs were compared with a phase's first steps.

    `block` is the candidate whose training step was off by most, by the share `off` of its planned
    seconds. `split_anew` tells whether its phase is split anew, `text` says so in a sentence.
    """

    phase: str
    block: str
    off: float
    split_anew: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class EpochDone(_TimedEvent):
    """A candidate, or in fine-tuning the whole student, has done an epoch (counted from 1).

    The student is called `student`, on a curve by the name of its point; so are candidates there,
    as in `0.35/conv3`.

    `loss` is the mean of the epoch, `accuracy` the student's validation accuracy (a share), None
    except in fine-tuning.
    """

    worker: int | None
    phase: str
    block: str
    epoch: int
    loss: float
    accuracy: float | None = None


@dataclass(frozen=True, kw_only=True)
class BlockTrained(_TimedEvent):
    """A candidate's training is over.

    `losses` has the mean of each epoch, `job_seconds` the time of the job, which its blocks share.
    `failure` is None if the training succeeded, `checksum` the CRC-32 of the weight file, None
    without one. `first_failure` is why it was trained a second time.
    """

    worker: int
    phase: str
    block: str
    job_seconds: float
    losses: tuple[float, ...]
    failure: str | None
    checksum: str | None
    first_failure: str | None = None


@dataclass(frozen=True, kw_only=True)
class BlockScored(_TimedEvent):
    """A candidate was swapped into the teacher on its own, which lost `solo_drop` accuracy.

    `solo_drop` is a share (0.01 is a point), `interval` its 95 % interval on `images` validation
    images. `reason` is None if the candidate is accepted.
    """

    block: str
    solo_drop: float
    reason: str | None
    interval: tuple[float, float] | None = None
    images: int | None = None


@dataclass(frozen=True, kw_only=True)
class PowerRead(_TimedEvent):
    """The power of each domain, in watts."""

    watts: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Note(_TimedEvent):
    """A sentence for the user, such as the failure of an observer plugin."""

    text: str


@dataclass(frozen=True, kw_only=True)
class WorkerLost(_TimedEvent):
    """A worker process was killed after giving no sign of life for `silent_seconds`."""

    pid: int
    silent_seconds: float


@dataclass(frozen=True, kw_only=True)
class Restarted(_TimedEvent):
    """A launcher starts the workers again, for the `attempt`-th time where it counts."""

    reason: str
    attempt: int | None = None


@dataclass(frozen=True, kw_only=True)
class CheckpointDamaged(_TimedEvent):
    """A checkpoint cannot be read, so an older one is used."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Resumed(_TimedEvent):
    """A stopped run goes on; its plan follows."""


@dataclass(frozen=True, kw_only=True)
class RunFinished(_TimedEvent):
    """The run has finished. This event is not recorded: `result.json` holds the result."""

    result: RunResult


@dataclass(frozen=True, kw_only=True)
class CurveFinished(_TimedEvent):
    """A curve has finished. This event is not recorded: `curve.json` holds the result."""

    result: CurveResult


@dataclass(frozen=True, kw_only=True)
class RunStopped(_TimedEvent):
    """The run has not finished, and no process works on it. `pbkd watch` makes this event."""

    folder: str


Event: TypeAlias = (
    PhaseStarted
    | TeacherScored
    | PlanMade
    | JobStarted
    | StepsDone
    | StepsTimed
    | CostsChecked
    | EpochDone
    | BlockTrained
    | BlockScored
    | PowerRead
    | Note
    | WorkerLost
    | Restarted
    | CheckpointDamaged
    | Resumed
    | RunFinished
    | CurveFinished
    | RunStopped
)
"""What happens in a run."""
Emit: TypeAlias = Callable[[Event], None]
"""A function that takes each event as it happens."""
