"""One rank of a relay: its span, its links to the spans before and after, its replica group."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from pbkd.training.exchange import open_exchange
from pbkd.training.feeds import relay
from pbkd.training.link import Outlet, receive, shared_rows, split_rows
from pbkd.training.replicas import ReplicaGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import torch.distributed as dist
    from torch import Tensor, nn

    from pbkd.core.blocks import Block
    from pbkd.core.schedule import Schedule, Stage
    from pbkd.training.feeds import Lessons, Pair
    from pbkd.training.link import RowRange

    CreateGroup = Callable[[Sequence[int]], dist.ProcessGroup | None]


__all__ = ["RelayJob", "relay_epochs"]


@dataclass(frozen=True, kw_only=True)
class RelayJob:
    """What all ranks of a relay have in common.

    Attributes:
        chain: The teacher's chain.
        blocks: The blocks to train, by name.
        schedule: Which rank trains which blocks.
        batch_rows: Rows per batch, over all replicas.
        steps: Number of batches.
        student_fed: Whether replacements receive the student's activations.
        device: This rank's device.
        dtype: The type of the activations.
        starts: The first epoch of each block; the relay starts with the earliest.
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


def replicas_of(
    schedule: Schedule,
    rank: int,
    batch_rows: int,
    create_group: CreateGroup,
    device: torch.device,
) -> ReplicaGroup | None:
    """Create the replica groups; return this rank's. All ranks must call it, in the same order."""
    mine = None
    for stage in schedule.stages:
        if len(stage.ranks) == 1:
            continue
        if group := create_group(stage.ranks):
            rows = split_rows(stage.ranks, batch_rows)[stage.ranks.index(rank)]
            mine = ReplicaGroup(open_exchange(group, device), rows, batch_rows)
    return mine


def relay_epochs(
    job: RelayJob,
    rank: int,
    images: Iterable[Iterable[Tensor]],
    steps_per_epoch: int,
    is_end: Callable[[int], bool] = lambda _epochs: False,
) -> Iterator[Iterator[Lessons]]:
    """Feed this rank's span.

    Args:
        job: What all ranks have in common.
        rank: This rank.
        images: The normalised batches of each epoch, from the first one to train; read by the first
            stage only.
        steps_per_epoch: Batches per epoch.
        is_end: Gets the number of finished epochs; tells all ranks alike whether to end.

    Yields:
        The lessons of each epoch.
    """
    stages = job.schedule.stages
    index = next(i for i, stage in enumerate(stages) if rank in stage.ranks)
    mine = _rows(stages[index], job, rank)
    span = _span(job, index)
    streams = 2 if job.student_fed else 1
    after = stages[index + 1 : index + 2]
    peers = [rows for stage in after for rows in split_rows(stage.ranks, job.batch_rows)]
    outlet = Outlet(shared_rows(mine, peers), streams=streams)
    epoch_images = iter(images)
    first = min(job.starts.values(), default=0)
    for epoch in range(first, first + job.steps // steps_per_epoch):
        batches = next(epoch_images) if index == 0 else None
        yield relay(
            span,
            [name for name in stages[index].job.blocks if job.starts.get(name, 0) <= epoch],
            _arriving(job, index, mine, batches, streams, steps_per_epoch),
            outlet.send,
            student_fed=job.student_fed,
        )
        if is_end(epoch + 1):
            break
    outlet.close()


def _arriving(
    job: RelayJob,
    index: int,
    mine: RowRange,
    images: Iterable[Tensor] | None,
    streams: int,
    steps: int,
) -> Iterator[Pair]:
    """Yield this rank's rows of the input to its span, for the steps of one epoch.

    Nothing of the next epoch is received, since the relay may end after this one.
    """
    if images is not None:
        for batch in images:
            rows = batch[mine.start : mine.stop]
            yield rows, rows
        return
    stages = job.schedule.stages
    peers = shared_rows(mine, split_rows(stages[index - 1].ranks, job.batch_rows))
    shape = job.blocks[stages[index].job.blocks[0]].input_shape
    yield from receive(peers, shape, steps, job.device, streams=streams, dtype=job.dtype)


def _rows(stage: Stage, job: RelayJob, rank: int) -> RowRange:
    return next(rows for rows in split_rows(stage.ranks, job.batch_rows) if rows.rank == rank)


def _span(job: RelayJob, index: int) -> nn.Sequential:
    """The segments that a stage runs: up to the next stage's first block."""
    stages = job.schedule.stages
    positions = [_positions(job, stage.job.blocks) for stage in stages]
    start = 0 if index == 0 else positions[index][0]
    stop = positions[index + 1][0] if index + 1 < len(stages) else positions[index][-1] + 1
    return job.chain[start:stop]


def _positions(job: RelayJob, names: Sequence[str]) -> list[int]:
    return [job.blocks[name].position for name in names]
