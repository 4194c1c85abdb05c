"""One rank of a relay: its span, the links to the spans before and after, its team."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, cast

import torch
import torch.distributed as dist

from pbkd.training.feeds import relay
from pbkd.training.link import Outlet, receive, rows_of, shared_rows
from pbkd.training.replicas import ReplicaGroup

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torch import Tensor, nn

    from pbkd.core.blocks import Block
    from pbkd.core.schedule import Schedule, Stage
    from pbkd.training.feeds import Lessons, Pair
    from pbkd.training.link import Rows


__all__ = ["RelayJob", "relay_epochs"]


@dataclass(frozen=True)
class RelayJob:
    """What every rank of a relay knows: the teacher's chain, the schedule, the size of the work.

    `starts` is the epoch in which each block starts to learn; the relay starts with the earliest.
    """

    chain: nn.Sequential
    blocks: Mapping[str, Block]
    schedule: Schedule
    batch_rows: int
    steps: int
    student_fed: bool
    device: torch.device
    dtype: torch.dtype = torch.float32
    starts: Mapping[str, int] = field(default_factory=dict)


def replicas_of(schedule: Schedule, rank: int, batch_rows: int) -> ReplicaGroup | None:
    """Return the team of this rank; every rank must call it, in the same order as all others."""
    mine = None
    for stage in schedule.stages:
        if len(stage.ranks) == 1:
            continue
        group = cast("dist.ProcessGroup", dist.new_group(list(stage.ranks)))
        for rows in rows_of(stage.ranks, batch_rows):
            if rows.rank == rank:
                mine = ReplicaGroup(group, (rows.stop - rows.start) / batch_rows)
    return mine


def relay_epochs(
    job: RelayJob, rank: int, images: Iterable[Iterable[Tensor]], steps_per_epoch: int
) -> Iterator[Iterator[Lessons]]:
    """Yield, for each epoch, the lessons of this rank's span.

    `images` gives the normalised batches of each epoch from the first on; only ranks of the first
    stage look at it.
    """
    stages = job.schedule.stages
    index = next(i for i, stage in enumerate(stages) if rank in stage.ranks)
    mine = _rows(stages[index], job, rank)
    span = _span(job, index)
    streams = 2 if job.student_fed else 1
    after = stages[index + 1 : index + 2]
    peers = [rows for stage in after for rows in rows_of(stage.ranks, job.batch_rows)]
    outlet = Outlet(shared_rows(mine, peers), streams=streams)
    arriving = _arriving(job, index, mine, images, streams)
    first = min(job.starts.values(), default=0)
    for epoch in range(first, first + job.steps // steps_per_epoch):
        yield relay(
            span,
            [name for name in stages[index].job.blocks if job.starts.get(name, 0) <= epoch],
            islice(arriving, steps_per_epoch),
            outlet.send,
            student_fed=job.student_fed,
        )
    outlet.close()


def _arriving(
    job: RelayJob, index: int, mine: Rows, images: Iterable[Iterable[Tensor]], streams: int
) -> Iterator[Pair]:
    """Yield this rank's rows of every step's input to its span."""
    if index == 0:
        for batches in images:
            for batch in batches:
                rows = batch[mine.start : mine.stop]
                yield rows, rows
        return
    stages = job.schedule.stages
    peers = shared_rows(mine, rows_of(stages[index - 1].ranks, job.batch_rows))
    shape = job.blocks[stages[index].job.blocks[0]].input_shape
    yield from receive(peers, shape, job.steps, job.device, streams=streams, dtype=job.dtype)


def _rows(stage: Stage, job: RelayJob, rank: int) -> Rows:
    return next(rows for rows in rows_of(stage.ranks, job.batch_rows) if rows.rank == rank)


def _span(job: RelayJob, index: int) -> nn.Sequential:
    """Return the teacher's segments that a stage runs: up to the next stage's first block."""
    stages = job.schedule.stages
    positions = [_positions(job, stage.job.blocks) for stage in stages]
    start = 0 if index == 0 else positions[index][0]
    stop = positions[index + 1][0] if index + 1 < len(stages) else positions[index][-1] + 1
    return job.chain[start:stop]


def _positions(job: RelayJob, names: Sequence[str]) -> list[int]:
    return [job.blocks[name].position for name in names]
