"""What the host leaves in the run folder for its workers: workers, schedule, blocks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
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
    """A blockwise phase: workers by rank, their schedule, the blocks by name.

    `phase` is `teacher-fed`, `retry` (the same again) or `student-fed`; `start` is the folder, in
    the run's, that holds the replacements' weights from before it. `cache` names the folder, in
    `out/cache`, of the teacher's activations, where they are cached. `rates` are factors on blocks'
    learning rates, `micro_batches` their micro-batches per batch, by the names of the `candidates`
    that are trained; without any, each block has one candidate of its own name.
    """

    phase: str
    start: str
    workers: tuple[Worker, ...]
    schedule: Schedule
    blocks: Mapping[str, Block]
    cache: str | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    micro_batches: Mapping[str, int] = field(default_factory=dict)
    candidates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Fill in the candidates of blocks that have one each."""
        if not self.candidates:
            object.__setattr__(self, "candidates", tuple(self.blocks))


def schedule_data(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule as plain data: `feed`, `assigned`, `shared`, a job being its blocks."""
    return {
        "feed": schedule.feed,
        "assigned": [[job.blocks for job in jobs] for jobs in schedule.assigned],
        "shared": [job.blocks for job in schedule.shared],
    }


def schedule_of(data: Mapping[str, Any]) -> Schedule:
    """Return the schedule of what `schedule_data` gave; `KeyError` or `TypeError` for no such."""
    return Schedule(
        tuple(tuple(Job(tuple(names)) for names in jobs) for jobs in data["assigned"]),
        tuple(Job(tuple(names)) for names in data["shared"]),
        data["feed"],
    )


def write_assignment(folder: Path, assignment: Assignment) -> None:
    """Write an assignment into a run folder, as plain data."""
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
    """Read what `write_assignment` wrote; raises `RunFolderError`."""
    path = folder / "assignment.json"
    try:
        return _assignment(read_json(path))
    except (KeyError, TypeError) as error:
        raise RunFolderError(f"'{path}' is no assignment of this version of pbkd.") from error


def _assignment(data: Mapping[str, Any]) -> Assignment:
    shapes = ("input_shape", "output_shape")
    blocks = [
        Block(**{**block, **{shape: tuple(block[shape]) for shape in shapes}})
        for block in data["blocks"]
    ]
    workers = tuple(Worker(**worker) for worker in data["workers"])
    named = {block.name: block for block in blocks}
    return Assignment(
        data["phase"], data["start"], workers, schedule_of(data), named, data["cache"],
        data["rates"], data["micro_batches"], tuple(data["candidates"]),
    )  # fmt: skip
