"""The assignment of a blockwise phase, which the host writes for its workers."""

from __future__ import annotations

from dataclasses import KW_ONLY, asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pbkd.core.blocks import Block
from pbkd.core.files import read_json, write_json
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


__all__ = ["Assignment", "read_assignment", "schedule_data", "schedule_of", "write_assignment"]


@dataclass(frozen=True)
class Assignment:
    """A blockwise phase.

    Attributes:
        phase: `teacher-fed`, `retry` (teacher-fed again) or `student-fed`.
        start: The folder, within the run folder, of the replacements' initial weights.
        workers: The workers, by rank.
        schedule: Their jobs.
        blocks: The blocks, by name.
        cache: The folder of the activation cache, within `out/cache`; None without a cache.
        rates: Factors on the learning rates, by candidate.
        micro_batches: Micro-batches per batch (gradient accumulation), by candidate.
        candidates: Names of the candidates to train; by default one per block, with its name.
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
    candidates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Set the default candidates."""
        if not self.candidates:
            object.__setattr__(self, "candidates", tuple(self.blocks))


def schedule_data(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule as plain data: `feed`, `assigned`, `shared`; a job is a list of blocks."""
    return {
        "feed": schedule.feed,
        "assigned": [[job.blocks for job in jobs] for jobs in schedule.assigned],
        "shared": [job.blocks for job in schedule.shared],
    }


def schedule_of(data: Mapping[str, Any]) -> Schedule:
    """Convert the result of `schedule_data` back to a schedule.

    Raises:
        KeyError: An entry is missing.
        TypeError: An entry has the wrong type.
    """
    return Schedule(
        tuple(tuple(Job(tuple(names)) for names in jobs) for jobs in data["assigned"]),
        tuple(Job(tuple(names)) for names in data["shared"]),
        data["feed"],
    )


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
        "candidates": assignment.candidates,
        "blocks": [asdict(block) for block in assignment.blocks.values()],
    }
    write_json(folder / "assignment.json", data)


def read_assignment(folder: Path) -> Assignment:
    """Read the assignment of a run folder.

    Raises:
        RunFolderError: The file is missing or damaged.
    """
    path = folder / "assignment.json"
    try:
        return _assignment(read_json(path))
    except (KeyError, TypeError) as error:
        raise RunFolderError(f"'{path}' is not an assignment of this version of pbkd.") from error


def _assignment(data: Mapping[str, Any]) -> Assignment:
    shapes = ("input_shape", "output_shape")
    blocks = [
        Block(**{**block, **{shape: tuple(block[shape]) for shape in shapes}})
        for block in data["blocks"]
    ]
    workers = tuple(Worker(**worker) for worker in data["workers"])
    named = {block.name: block for block in blocks}
    return Assignment(
        data["phase"],
        data["start"],
        workers,
        schedule_of(data),
        named,
        cache=data["cache"],
        rates=data["rates"],
        micro_batches=data["micro_batches"],
        candidates=tuple(data["candidates"]),
    )
