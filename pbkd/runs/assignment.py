"""The assignment of a phase, which the host writes for its workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pbkd.core.blocks import Block, candidate_of
from pbkd.core.files import write_json
from pbkd.core.records import read_record
from pbkd.core.schedule import Job, Schedule, Worker

if TYPE_CHECKING:
    from pathlib import Path


__all__ = [
    "EVALUATION",
    "FINE_TUNING",
    "RECALIBRATION",
    "SCORED",
    "SCORING",
    "STUDENT",
    "TEACHER",
    "Assignment",
    "ScheduleRecord",
    "read_assignment",
    "schedule_data",
    "write_assignment",
]

FINE_TUNING = "fine-tuning"
"""The phase in which all workers train the whole student."""
SCORING, RECALIBRATION, EVALUATION = "scoring", "recalibration", "evaluation"
"""The phases in which each worker scores networks on some batches of a split, and trains nothing:
each candidate alone in the teacher, the student before and after recalibration, and all stages of
the student."""
SCORED = (SCORING, RECALIBRATION, EVALUATION)
TEACHER = "teacher"
"""The name of the teacher among the networks that are scored."""
STUDENT = "student"
"""The name of the whole student, in jobs and in checkpoints."""


@dataclass(frozen=True)
class Assignment:
    """A phase that workers share: they train blocks or the whole student, or score networks.

    Attributes:
        phase: `teacher-fed`, `retry` (teacher-fed again), `student-fed`, `fine-tuning`, or one of
            those that score networks.
        start: The folder, within the run folder, of the weights to begin with: of replacements, or
            of the `networks`; empty in `fine-tuning`, which starts from a checkpoint.
        workers: The workers, by rank.
        schedule: Their jobs.
        blocks: The blocks, by name.
        cache: The folder of the activation cache, within `out/cache`; None without a cache.
        rates: Factors on the learning rates, by candidate.
        micro_batches: Micro-batches per batch (gradient accumulation), by candidate.
        builders: The candidates to train or to score, or those that are in the student: by their
            names the builder of each, with its options.
        networks: The names of the whole networks to score: `teacher`, and states of the student.
        part: How often the phase was split anew before; of fine-tuning, the epochs of
            earlier rounds.
        epochs: Of fine-tuning, the epochs of earlier rounds, and those with this one.
    """

    phase: str
    start: str
    workers: tuple[Worker, ...]
    schedule: Schedule
    blocks: Mapping[str, Block]
    _: KW_ONLY
    cache: str | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    micro_batches: Mapping[str, int] = field(default_factory=dict)
    builders: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    part: int = 0
    epochs: tuple[int, int] = (0, 0)

    @property
    def launch(self) -> str:
        """A name that no other launch of the run has."""
        return f"{self.phase} {self.part}" if self.part else self.phase

    @property
    def candidates(self) -> tuple[str, ...]:
        """The names of the candidates to train."""
        return tuple(self.builders)

    def names_of(self, rank: int) -> frozenset[str]:
        """Return the names whose weights and checkpoints a worker may write."""
        jobs = (*self.schedule.assigned[rank], *self.schedule.shared)
        blocks = {name for job in jobs for name in job.blocks}
        if self.phase in (FINE_TUNING, *SCORED):
            return frozenset(blocks)
        return frozenset(name for name in self.candidates if candidate_of(name)[0] in blocks)


def schedule_data(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule as plain data: `feed`, `assigned`, `shared`; a job is a list of blocks."""
    return {
        "feed": schedule.feed,
        "assigned": [[job.blocks for job in jobs] for jobs in schedule.assigned],
        "shared": [job.blocks for job in schedule.shared],
    }


@dataclass(frozen=True, kw_only=True)
class ScheduleRecord:
    """A schedule and its workers in a JSON file, as `schedule_data` writes it."""

    workers: tuple[Worker, ...]
    feed: str
    assigned: tuple[tuple[tuple[str, ...], ...], ...]
    shared: tuple[tuple[str, ...], ...]

    @property
    def schedule(self) -> Schedule:
        """The schedule."""
        return Schedule(
            tuple(tuple(map(Job, jobs)) for jobs in self.assigned),
            tuple(map(Job, self.shared)),
            self.feed,
        )


@dataclass(frozen=True, kw_only=True)
class _Record(ScheduleRecord):
    """The content of `assignment.json`."""

    phase: str
    start: str
    cache: str | None
    rates: Mapping[str, float]
    micro_batches: Mapping[str, int]
    builders: Mapping[str, dict[str, Any]]
    networks: tuple[str, ...]
    part: int
    epochs: tuple[int, int]
    blocks: tuple[Block, ...]


def write_assignment(folder: Path, assignment: Assignment) -> None:
    """Write an assignment to `assignment.json` in a run folder."""
    data = {
        "phase": assignment.phase,
        "start": assignment.start,
        "workers": [asdict(worker) for worker in assignment.workers],
        **schedule_data(assignment.schedule),
        "cache": assignment.cache,
        "rates": dict(assignment.rates),
        "micro_batches": dict(assignment.micro_batches),
        "builders": dict(assignment.builders),
        "networks": assignment.networks,
        "part": assignment.part,
        "epochs": assignment.epochs,
        "blocks": [asdict(block) for block in assignment.blocks.values()],
    }
    write_json(folder / "assignment.json", data)


def read_assignment(folder: Path) -> Assignment:
    """Read the assignment of a run folder.

    Raises:
        RunFolderError: The file is missing or damaged.
    """
    record: _Record = read_record(folder / "assignment.json", _Record, "an assignment")
    return Assignment(
        record.phase,
        record.start,
        record.workers,
        record.schedule,
        {block.name: block for block in record.blocks},
        cache=record.cache,
        rates=record.rates,
        micro_batches=record.micro_batches,
        builders=record.builders,
        networks=record.networks,
        part=record.part,
        epochs=record.epochs,
    )
