"""The optimal relay: consecutive blocks on consecutive workers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from pbkd import Job, Schedule, hookimpl
from pbkd.errors import ScheduleError
from pbkd.planning import Link, StageLoad, StageWorkers, stage_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pbkd import BlockCost, Worker
    from pbkd.protocols import Scheduler

PBKD_CONTRACT = 2

Array = np.ndarray[Any, np.dtype[Any]]

_ALL_SIZES = 64  # with more workers, groups of more than 16 grow in steps of an eighth
_MOST_STAGES = 220_000_000  # to be compared, five seconds
_FAR, _NEAR = 0, 1  # links to another node, and within one


@dataclass(frozen=True)
class Pipeline:
    """Cut the chain into stages that workers relay, with the fastest possible slowest stage.

    The optimum is found by dynamic programming over measured costs, transfers included: over all
    ways to cut the chain into stages, to give each stage one or several consecutive workers that
    share its batches, and to leave workers idle. Each worker has its own speed, and each link its
    own bandwidth and latency, within a node and between nodes. With more than 64 workers, not every
    group size is tried. Teacher relay and shared batches follow Pipe-BD (Jang et al., DATE 2023,
    arXiv 2301.12443), which searches exhaustively.
    """

    name: ClassVar[str] = "pipeline"

    def schedule(self, costs: Sequence[BlockCost], workers: Sequence[Worker]) -> Schedule:
        """Minimise the seconds per step of the slowest stage.

        Args:
            costs: Measured costs of the blocks, in the order of the chain.
            workers: The workers, by rank.

        Returns:
            A relay: one job per worker of each stage, with the feed `relay`.

        Raises:
            ScheduleError: If the search takes too long for this many blocks and workers.
        """
        sizes = list(_sizes(costs, len(workers)))
        _check_search(len(costs), workers, sizes)
        table = _Table.empty(len(costs), workers)
        candidates = [_groups_of(workers, table.starts, size) for size in sizes]
        for end, load in enumerate(_loads(costs), 1):
            _fill(table, end, load, candidates)
        return _relay([cost.name for cost in costs], table)


class _Groups(NamedTuple):
    """All groups of consecutive workers of one size, as arrays over their first worker.

    `groups` has their links by kind; `inside` tells which groups are within one node.
    """

    size: int
    groups: tuple[StageWorkers[Array], ...]
    inside: Array


class _Table(NamedTuple):
    """The best relays of the first b blocks, for every b.

    `done[b, kind, w]`: seconds of the slowest stage of the best relay of b blocks whose last stage
    ends with worker w - 1 and sends over a link of this kind. `ready[b, kind, w]`: the same for the
    best relay after which worker w can start, receiving over such a link. `choice[b, kind, w]`: the
    inlet's kind, first block and number of workers of the last stage. `starts`: the first worker of
    each worker's node.
    """

    kinds: tuple[int, ...]
    starts: Array
    done: Array
    ready: Array
    choice: Array

    @classmethod
    def empty(cls, blocks: int, workers: Sequence[Worker]) -> _Table:
        starts, kinds = np.array(list(_starts(workers))), _kinds(workers)
        shape = (blocks + 1, len(kinds), len(workers) + 1)
        ready = np.full(shape, np.inf)
        ready[0, _FAR] = 0.0
        return cls(kinds, starts, np.full(shape, np.inf), ready, np.zeros((*shape, 3), int))


def _starts(workers: Sequence[Worker]) -> Iterator[int]:
    """Yield, for each worker, the first worker of its node; one without a node is its own."""
    first = 0
    for node, group in groupby(workers, key=lambda worker: worker.node):
        count = len(list(group))
        yield from [first] * count if node else range(first, first + count)
        first += count


def _kinds(workers: Sequence[Worker]) -> tuple[int, ...]:
    """Return the kinds of links that there are."""
    return (_FAR,) if list(_starts(workers)) == list(range(len(workers))) else (_FAR, _NEAR)


def _sizes(costs: Sequence[BlockCost], workers: int) -> Iterator[int]:
    """Yield the group sizes to try; each worker of a group needs a row of every batch."""
    rows = min((cost.rows for cost in costs if cost.rows), default=workers)
    size = 1
    while size <= min(workers, rows):
        yield size
        size += max(1, size // 8) if workers > _ALL_SIZES else 1


def _check_search(blocks: int, workers: Sequence[Worker], sizes: Sequence[int]) -> None:
    """Raise `ScheduleError` if too many stages have to be compared."""
    groups = sum(len(workers) - size + 1 for size in sizes) * len(_kinds(workers)) ** 2
    if blocks * blocks // 2 * groups > _MOST_STAGES:
        raise ScheduleError(
            f"the search for the best relay of {blocks:,} blocks on {len(workers):,} workers would"
            " take too long: plan with fewer workers, or take another scheduler."
        )


def _groups_of(workers: Sequence[Worker], starts: Array, size: int) -> _Groups:
    """Return all groups of this size; the slowest worker and link of each count."""

    def each(name: str) -> Array:
        return windows(np.array([getattr(worker, name) for worker in workers]))

    def windows(values: Array) -> Array:
        return np.lib.stride_tricks.sliding_window_view(values, size)

    # Workers of a group in one node, not counting earlier workers outside of the group.
    in_node = np.minimum(windows(np.arange(len(workers)) - starts), np.arange(size)) + 1
    lanes = size / in_node.max(1)
    first = workers[: len(workers) - size + 1]
    inside = (lanes == 1) & np.array([worker.node != "" for worker in first])
    far = Link[Array](each("bandwidth").min(1), each("latency").max(1))
    near = Link[Array](each("node_bandwidth").min(1), each("node_latency").max(1))
    replicas = Link[Array](
        np.where(inside, near.bandwidth, far.bandwidth), np.where(inside, near.latency, far.latency)
    )
    outside = (
        replace(far, bandwidth=lanes * far.bandwidth),
        replace(near, bandwidth=size * near.bandwidth),
    )
    speed, overlap = each("speed").min(1), each("overlap").min(1)
    groups = tuple(
        StageWorkers(
            size=size, speed=speed, replicas=replicas, inlet=link, outlet=link, overlap=overlap
        )
        for link in outside
    )
    return _Groups(size, groups, inside)


def _loads(costs: Sequence[BlockCost]) -> Iterator[StageLoad[Array]]:
    """Yield the loads of the stages that end with each block, a row for each first block.

    They are those of `stage_load`. Its sums grow by a block from one yield to the next.
    """
    names = ("train_seconds", "overhead_seconds", "parameter_bytes", "exchanges")
    sums = np.zeros((len(names), len(costs)))
    starts = np.array([0.0, *(cost.prefix_seconds for cost in costs[1:])])
    inputs = np.array([0.0, *(cost.input_bytes for cost in costs[1:])])
    for end, last in enumerate(costs, 1):
        sums[:, :end] += [[getattr(last, name)] for name in names]
        train, overhead, gradients, exchanges = (row[:end, np.newaxis].copy() for row in sums)
        inner = end < len(costs)
        stop = starts[end] if inner else last.prefix_seconds + last.teacher_seconds
        yield StageLoad(
            seconds=stop - starts[:end, np.newaxis] + train,
            overhead=overhead,
            received=inputs[:end, np.newaxis],
            receives=(np.arange(end) > 0.0)[:, np.newaxis].astype(float),
            sent=np.full((end, 1), inputs[end] if inner else 0.0),
            sends=np.full((end, 1), float(inner)),
            gradients=gradients,
            exchanges=exchanges,
        )


def _fill(table: _Table, end: int, load: StageLoad[Array], candidates: Sequence[_Groups]) -> None:
    """Find the best relays of the first `end` blocks from all shorter ones."""
    for size, groups, inside in candidates:
        starts = len(inside)
        for outlet in table.kinds:
            slowest = np.empty((len(table.kinds), end, starts))
            for inlet in table.kinds:
                group = replace(groups[inlet], outlet=groups[outlet].outlet)
                seconds = stage_parts(load, group).seconds
                np.maximum(table.ready[:end, inlet, :starts], seconds, out=slowest[inlet])
                if _NEAR in (inlet, outlet):
                    slowest[inlet][:, ~inside] = np.inf
            rows = slowest.reshape(-1, starts)
            row = rows.argmin(0)
            value = rows[row, np.arange(starts)]
            better = value < table.done[end, outlet, size:]
            table.done[end, outlet, size:][better] = value[better]
            inlets, firsts = np.divmod(row, end)
            chosen = np.stack([inlets, firsts, np.full_like(row, size)], axis=1)
            table.choice[end, outlet, size:][better] = chosen[better]
    _make_ready(table, end)


def _make_ready(table: _Table, end: int) -> None:
    """Find the best relays after which each worker can start.

    After a stage in its own node the link is near; counting it as far overestimates the seconds.
    """
    table.ready[end, _FAR] = np.minimum.accumulate(table.done[end, _FAR])
    for inlet in table.kinds[1:]:
        for worker, first in enumerate(table.starts):
            if first < worker:
                ends = _ends(inlet, first, worker)
                table.ready[end, inlet, worker] = table.done[end, inlet, ends].min()


def _ends(inlet: int, first: int, worker: int) -> slice:
    """Return the possible ends of a stage before `worker`, whose node starts at `first`."""
    return slice(0 if inlet == _FAR else first + 1, worker + 1)


def _relay(names: list[str], table: _Table) -> Schedule:
    """Trace the choices back from the whole chain."""
    assigned: list[tuple[Job, ...]] = [()] * len(table.starts)
    end, kind, used = len(names), _FAR, int(table.done[len(names), _FAR].argmin())
    while end:
        inlet, first, size = map(int, table.choice[end, kind, used])
        worker = used - size
        for rank in range(worker, used):
            assigned[rank] = (Job(tuple(names[first:end])),)
        ends = _ends(inlet, int(table.starts[worker]), worker)
        end, kind = first, inlet
        used = ends.start + int(table.done[end, kind, ends].argmin())
    return Schedule(tuple(assigned), feed="relay")


@hookimpl
def register_schedulers() -> list[type[Scheduler]]:
    """Register the scheduler `pipeline`."""
    return [Pipeline]
