"""What the host leaves in the run folder for its workers: the crew, the schedule, the blocks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pbkd.errors import RunFolderError
from pbkd.journal import read_json, write_json
from pbkd.plan import Block, Job, Schedule, Worker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pbkd.plan import Plan

__all__ = ["Assignment", "read_assignment", "write_assignment"]


@dataclass(frozen=True)
class Assignment:
    """Workers by rank, their schedule, and the blocks to train by name."""

    workers: tuple[Worker, ...]
    schedule: Schedule
    blocks: Mapping[str, Block]


def write_assignment(folder: Path, plan: Plan) -> None:
    """Write a plan's assignment into a run folder, as plain data."""
    data = {
        "workers": [asdict(worker) for worker in plan.workers],
        "assigned": [[job.blocks for job in jobs] for jobs in plan.schedule.assigned],
        "shared": [job.blocks for job in plan.schedule.shared],
        "blocks": [asdict(planned.block) for planned in plan.trained],
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
    schedule = Schedule(
        tuple(tuple(Job(tuple(names)) for names in jobs) for jobs in data["assigned"]),
        tuple(Job(tuple(names)) for names in data["shared"]),
    )
    workers = tuple(Worker(**worker) for worker in data["workers"])
    return Assignment(workers, schedule, {block.name: block for block in blocks})
