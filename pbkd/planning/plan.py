"""Who trains what, and how long it should take: blocks, costs, jobs, schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.core.blocks import Block, BlockCost
    from pbkd.core.schedule import Schedule, Worker


__all__ = ["Plan", "PlannedBlock", "Workload"]


@dataclass(frozen=True)
class PlannedBlock:
    """A candidate for a segment's place: what it saves, and what training it costs.

    With one builder a block has one candidate, of the block's own name. `reason` says why there is
    no replacement; it is None where there is one. `cost` is None where there is nothing to train.
    Seconds are those of a forward pass of one batch, None where the budget is not one of latency.
    """

    name: str
    builder: Mapping[str, Any]
    block: Block
    reason: str | None
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int
    cost: BlockCost | None
    seconds_before: float | None = None
    seconds_after: float | None = None


@dataclass(frozen=True)
class Workload:
    """How many steps every block is trained, and how many of them show images not seen before."""

    steps: int
    distinct_steps: int


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before training starts.

    `blocks` holds every candidate of every block, in the order of the chain. `why` says why this
    scheduler's schedule was taken, where there was a choice. `cache` names the folder of the
    teacher's activations, where they are cached. `other_seconds` is what a forward pass takes in
    the segments that have no candidate, where the budget is one of latency.
    """

    blocks: tuple[PlannedBlock, ...]
    workers: tuple[Worker, ...]
    schedule: Schedule
    workload: Workload
    seconds: float
    scheduler: str
    why: str
    cache: str | None
    other_seconds: float | None = None

    @property
    def trained(self) -> tuple[PlannedBlock, ...]:
        """The candidates that are trained."""
        return tuple(planned for planned in self.blocks if planned.cost is not None)

    def worker_of(self, name: str) -> int | None:
        """Return the rank that a block is assigned to; None if it waits in the shared queue."""
        for rank, jobs in enumerate(self.schedule.assigned):
            if any(name in job.blocks for job in jobs):
                return rank
        return None
