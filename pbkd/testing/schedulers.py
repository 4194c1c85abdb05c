"""Conformance tests of schedulers."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from pbkd.core.blocks import BlockCost
from pbkd.core.schedule import Worker, check_schedule
from pbkd.core.workload import Workload
from pbkd.planning.cost_model import makespan
from pbkd.planning.scheduler_call import ask_scheduler
from pbkd.plugin.signatures import accepts
from pbkd.testing.tiny import tiny_costs, tiny_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pbkd.core.schedule import Schedule
    from pbkd.protocols import Scheduler

    Case = Callable[[Sequence[BlockCost], Sequence[Worker]], None]

__all__ = ["check_scheduler"]

_SIZES = ((1, 1), (5, 2), (13, 4), (2, 3))  # blocks, workers
_EXAMPLES = 40
_WORKLOADS = (Workload(600, 60, 10), Workload(600, 600, 10, 0), Workload(1, 1, 1, 10**6))


def check_scheduler(
    scheduler: Scheduler, costs: Sequence[BlockCost] | None = None, workers: int | None = None
) -> None:
    """Check that a scheduler's schedules are valid, deterministic and possible.

    Every block must be in exactly one job, two calls must return equal schedules, and the predicted
    makespan must not be shorter than the workers' speeds allow. A scheduler that takes the workload
    is also asked with others, one without a cache among them. Without `costs` and `workers`,
    several fixed and 40 random chains and worker groups are tested, by hypothesis if it is
    installed.

    Args:
        scheduler: The scheduler.
        costs: The only costs to test (default with `workers`: `tiny_costs()`).
        workers: The only number of workers to test (default with `costs`: 2).

    Raises:
        AssertionError: If the scheduler breaks the contract.
        ScheduleError: If a schedule is invalid.
    """
    if costs is not None or workers is not None:
        group = [Worker(rank) for rank in range(workers or 2)]
        _check_case(scheduler, tiny_costs() if costs is None else costs, group)
        return
    for blocks, count in _SIZES:
        _check_case(scheduler, tiny_costs(blocks), [Worker(rank) for rank in range(count)])
        _check_case(scheduler, tiny_costs(blocks), tiny_workers(count))

    def case(costs: Sequence[BlockCost], workers: Sequence[Worker]) -> None:
        _check_case(scheduler, costs, workers)

    try:
        _by_hypothesis(case)
    except ImportError:
        _at_random(case)


def _check_case(
    scheduler: Scheduler, costs: Sequence[BlockCost], workers: Sequence[Worker]
) -> None:
    copied = list(costs), list(workers)
    more = {"workload": _WORKLOADS[0]} if accepts(scheduler.schedule, "workload") else {}
    schedule = scheduler.schedule(copied[0], copied[1], **more)
    assert copied == (list(costs), list(workers)), "schedule changes its arguments in place"
    check_schedule(schedule, costs, len(workers))
    assert ask_scheduler(scheduler, costs, workers, _WORKLOADS[0]) == schedule, (
        "schedule returns different schedules for the same costs and workers"
    )
    _check_seconds(schedule, costs, workers)
    if more:
        for workload in _WORKLOADS[1:]:
            schedule = ask_scheduler(scheduler, costs, workers, workload)
            _check_seconds(schedule, costs, workers)


def _check_seconds(
    schedule: Schedule, costs: Sequence[BlockCost], workers: Sequence[Worker]
) -> None:
    seconds = makespan(schedule, costs, workers)
    power = sum(worker.speed for worker in workers)
    # The replicas of a relay stage may share a block; otherwise one worker trains it.
    most = power if schedule.feed == "relay" else max(worker.speed for worker in workers)
    largest = max(cost.train_seconds for cost in costs) / most
    mean = sum(cost.train_seconds for cost in costs) / power
    # The tolerance is for the rounding errors of sums.
    assert seconds >= max(largest, mean) * (1 - 1e-9), "the makespan is impossibly short"


def _chain(seconds: Sequence[tuple[float, float, float, float]]) -> list[BlockCost]:
    """Return costs from the seconds of kept segments before, teacher, training and reading."""
    costs, prefix = [], 0.0
    for index, (kept, teacher, train, read) in enumerate(seconds):
        prefix += kept
        sizes = (1000 * (index + 1), 100 * index, index)
        costs.append(BlockCost(f"block{index}", prefix, teacher, train, *sizes, read_seconds=read))
        prefix += teacher
    return costs


def _workers(speeds: Sequence[float]) -> list[Worker]:
    return [Worker(rank, speed=speed) for rank, speed in enumerate(speeds)]


def _by_hypothesis(case: Case) -> None:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    seconds = st.floats(0, 10, allow_subnormal=False)
    blocks = st.lists(st.tuples(seconds, seconds, seconds, seconds), min_size=1, max_size=9)
    speeds = st.lists(st.floats(0.25, 4), min_size=1, max_size=6)

    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(blocks, speeds)
    def drawn(blocks: list[tuple[float, float, float, float]], speeds: list[float]) -> None:
        case(_chain(blocks), _workers(speeds))

    drawn()


def _at_random(case: Case) -> None:
    generator = random.Random(0)
    for _ in range(_EXAMPLES):
        blocks = [
            (
                generator.uniform(0, 10),
                generator.uniform(0, 10),
                generator.uniform(0, 10),
                generator.uniform(0, 10),
            )
            for _ in range(generator.randint(1, 9))
        ]
        case(
            _chain(blocks),
            _workers([generator.uniform(0.25, 4) for _ in range(generator.randint(1, 6))]),
        )
