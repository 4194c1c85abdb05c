from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from pbkd import Job, Schedule, Worker, Workload
from pbkd.errors import ScheduleError
from pbkd.planning.prediction import Prediction, predict_schedulers
from pbkd.planning.scheduler_call import ask_scheduler
from pbkd.planning.scheduler_choice import choose_schedule
from pbkd.testing import check_scheduler, tiny_costs

WORKERS = [Worker(0), Worker(1, speed=0.5)]
WORKLOAD = Workload(steps=60, distinct_steps=6, epochs=10, cache_bytes=10**9)


@dataclass(frozen=True)
class Short:
    """Everything on the first worker if there is little to do, else a block each."""

    name: ClassVar[str] = "short"
    most_steps: int = 100

    def schedule(self, costs: Any, workers: Any, *, workload: Workload) -> Schedule:
        names = [cost.name for cost in costs]
        if workload.steps <= self.most_steps:
            return Schedule(((Job(tuple(names)),), *((),) * (len(workers) - 1)))
        return Schedule(((),) * len(workers), tuple(Job((name,)) for name in names))


class Keywords:
    name = "keywords"
    seen: ClassVar[list[Any]] = []

    def schedule(self, costs: Any, workers: Any, **keywords: Any) -> Schedule:
        self.seen.append((type(costs), type(workers), keywords))
        return Schedule(((),) * len(workers), tuple(Job((cost.name,)) for cost in costs))


def test_a_scheduler_that_asks_for_the_workload_decides_by_it() -> None:
    short: Any = Short()
    assert ask_scheduler(short, tiny_costs(), WORKERS, WORKLOAD).shared == ()
    long = Workload(1000, 1000)
    assert len(ask_scheduler(short, tiny_costs(), WORKERS, long).shared) == len(tiny_costs())
    (row,) = predict_schedulers(tiny_costs(), WORKERS, WORKLOAD, {"short": lambda: short})
    assert isinstance(row, Prediction)
    assert row.schedule.shared == ()
    choice = choose_schedule({"short": short}, tiny_costs(), WORKERS, WORKLOAD, obstacle=None)
    assert choice.schedule == row.schedule
    check_scheduler(short)


def test_one_that_takes_any_keyword_gets_it_and_neither_list_can_be_changed() -> None:
    keywords: Any = Keywords()
    ask_scheduler(keywords, tiny_costs(), WORKERS, WORKLOAD)
    assert Keywords.seen == [(tuple, tuple, {"workload": WORKLOAD})]


def test_with_an_obstacle_a_single_scheduler_is_asked_again_without_a_cache() -> None:
    asked = []

    class Fickle:
        name = "fickle"

        def schedule(self, costs: Any, _: Any, workload: Any) -> Schedule:
            asked.append(workload.cache_bytes)
            jobs = (Job(tuple(cost.name for cost in costs)),)
            first = workload.cache_bytes is None
            assigned = (jobs, ()) if first else ((), jobs)
            return Schedule(assigned, feed="cache" if first else "recompute")

    fickle: Any = Fickle()
    choice = choose_schedule({"fickle": fickle}, tiny_costs(), WORKERS, WORKLOAD, obstacle="full")
    assert asked == [None, 0]
    assert choice.why == "no cache is used: full"
    assert (choice.schedule.feed, choice.schedule.assigned[0]) == ("recompute", ())


def test_an_invalid_answer_is_an_error() -> None:
    class Nothing:
        name = "nothing"

        def schedule(self, *_: Any, workload: Any = None) -> Any:
            return workload.steps and None

    nothing: Any = Nothing()
    with pytest.raises(ScheduleError, match=r"it returns NoneType, not a pbkd\.Schedule"):
        ask_scheduler(nothing, tiny_costs(), WORKERS, WORKLOAD)
