"""The plan of a run: blocks, candidates, costs, schedule and predicted seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.core.blocks import Block, BlockCost
    from pbkd.core.schedule import Schedule, Worker
    from pbkd.core.workload import Workload


__all__ = ["Candidates", "Plan", "PlannedBlock", "WholeLatency"]


@dataclass(frozen=True, kw_only=True)
class PlannedBlock:
    """A candidate replacement of a block, with its size and cost.

    Attributes:
        name: The candidate's name; with one builder, the block's name.
        builder: The builder's name and options.
        block: The block.
        reason: Why there is no replacement; None if there is one.
        parameters_before: Parameters of the teacher's segment.
        parameters_after: Parameters of the replacement.
        bytes_before: Bytes of the parameters and buffers of the teacher's segment.
        bytes_after: The same of the replacement.
        macs_before: MACs of the teacher's segment, for one image.
        macs_after: MACs of the replacement, for one image.
        cost: Cost of one training step; None if there is nothing to train, or it is not measured.
        seconds_before: Seconds of the segment's forward pass on the batch whose latency the target
            limits; None if it limits none.
        seconds_after: The same for the replacement.
        forward_seconds: Seconds of the replacement's forward pass on one batch.
    """

    name: str
    builder: Mapping[str, Any]
    block: Block
    reason: str | None
    parameters_before: int
    parameters_after: int
    bytes_before: int
    bytes_after: int
    macs_before: int
    macs_after: int
    cost: BlockCost | None = None
    seconds_before: float | None = None
    seconds_after: float | None = None
    forward_seconds: float | None = None


@dataclass(frozen=True)
class WholeLatency:
    """Latency of whole networks, on the batch whose latency the target limits.

    Attributes:
        teacher_seconds: Seconds of the teacher's forward pass.
        factor: Seconds of a student's forward pass, divided by the sum over its segments.
    """

    teacher_seconds: float
    factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The candidates of all blocks, with what a target may limit.

    Attributes:
        blocks: Every candidate of every block, in the order of the chain.
        other_seconds: Seconds of a forward pass through the segments without candidates, on the
            batch whose latency the target limits; None if it limits none.
        latency: The latency of whole networks; None if the target limits none.
    """

    blocks: tuple[PlannedBlock, ...]
    other_seconds: float | None = None
    latency: WholeLatency | None = None

    @property
    def trained(self) -> tuple[PlannedBlock, ...]:
        """The candidates that are trained."""
        return tuple(planned for planned in self.blocks if planned.reason is None)


@dataclass(frozen=True, kw_only=True)
class Plan(Candidates):
    """Everything that is decided before training starts.

    Attributes:
        workers: The workers, ordered by rank.
        schedule: Which worker trains which blocks.
        workload: The training steps.
        seconds: The predicted makespan.
        scheduler: Name of the scheduler.
        why: Why this schedule was selected; empty if there was no choice.
        cache: Folder name of the activation cache; None without a cache.
        segment_seconds: Seconds of the teacher's forward pass on one batch, by segment.
    """

    workers: tuple[Worker, ...]
    schedule: Schedule
    workload: Workload
    seconds: float
    scheduler: str
    why: str
    cache: str | None
    segment_seconds: Mapping[str, float] = field(default_factory=dict)

    def worker_of(self, name: str) -> int | None:
        """Return the rank that a block is assigned to; None if it is in the shared queue."""
        for rank, jobs in enumerate(self.schedule.assigned):
            if any(name in job.blocks for job in jobs):
                return rank
        return None
