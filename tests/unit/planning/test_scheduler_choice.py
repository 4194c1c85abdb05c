from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from pbkd.config.load import load_config
from pbkd.core.blocks import Block
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.core.workload import Workload
from pbkd.errors import ScheduleError, UnknownNameError
from pbkd.planning.scheduler_choice import cache_name, cache_obstacle, choose_schedule, schedulers
from pbkd.testing import tiny_costs
from pbkd.training.task import build_task

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Scheduler
    from pbkd.training.task import DistillationTask

OWN = f"the plugin '{__name__}'"
CREW = [Worker(0), Worker(1)]
BLOCKS = [Block("conv1_2", 1, (32, 8, 8), (32, 8, 8))]


def pick(registry: Registry, *overrides: str) -> dict[str, Scheduler]:
    return schedulers(load_config(list(overrides)).scheduler, registry)


def test_auto_takes_the_one_predicted_fastest_and_says_so(registry: Registry) -> None:
    candidates = pick(registry)
    assert len(candidates) == len(registry.strategies["scheduler"]) >= 5
    choice = choose_schedule(candidates, tiny_costs(), CREW, Workload(100, 100), obstacle="no disk")
    assert choice.scheduler == "pipeline"
    assert choice.why.startswith("predicted fastest")
    assert all(name in choice.why for name in ("greedy", "lpt-scheduler", "round-robin"))
    assert "cached" not in choice.why


def test_auto_takes_a_cache_where_it_may_and_pays(registry: Registry) -> None:
    choice = choose_schedule(pick(registry), tiny_costs(), CREW, Workload(100, 1), obstacle=None)
    assert (choice.scheduler, choice.schedule.feed) == ("cached", "cache")


def test_a_cache_that_may_not_be_falls_back_and_says_why(registry: Registry) -> None:
    candidates = pick(registry, "scheduler=cached")
    choice = choose_schedule(candidates, tiny_costs(), CREW, Workload(9, 1), obstacle="it is full")
    assert choice.schedule.feed == "recompute"
    assert choice.why == "no cache is used: it is full"


def test_a_named_scheduler_is_taken_without_comparison(registry: Registry) -> None:
    choice = choose_schedule(
        pick(registry, "scheduler=round-robin"), tiny_costs(), CREW, Workload(9, 9), obstacle=None
    )
    assert (choice.scheduler, choice.why) == ("round-robin", "")


def test_an_unknown_scheduler_is_told_at_once(registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'greedy'"):
        pick(registry, "scheduler=greed")


def test_a_wrong_schedule_is_told_and_passed_over(registry: Registry) -> None:
    class Forgetful:
        name: ClassVar[str] = "forgetful"

        def schedule(self, *_: object) -> Schedule:
            return Schedule(((Job(("block0",)),), ()))

    forgetful: dict[str, Any] = {"forgetful": Forgetful()}
    with pytest.raises(ScheduleError, match="drops the blocks block1"):
        choose_schedule(forgetful, tiny_costs(2), CREW, Workload(9, 9), obstacle=None)
    both = pick(registry, "scheduler=greedy") | forgetful
    choice = choose_schedule(both, tiny_costs(2), CREW, Workload(9, 9), obstacle=None)
    assert choice.scheduler == "greedy"
    assert f"'forgetful' of {OWN} failed in schedule (the schedule drops" in choice.why


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "it returns NoneType, not a pbkd.Schedule"),
        (
            Schedule(((), ()), shared=("block0",)),  # type: ignore[arg-type]
            "the schedule's jobs are not all of the type pbkd.Job",
        ),
    ],
)
def test_what_is_no_schedule_is_told(given: Any, told: str) -> None:
    class Confused:
        name: ClassVar[str] = "confused"

        def schedule(self, *_: object) -> Any:
            return given

    confused: dict[str, Any] = {"confused": Confused()}
    with pytest.raises(ScheduleError) as caught:
        choose_schedule(confused, tiny_costs(2), CREW, Workload(9, 9), obstacle=None)
    assert str(caught.value) == (
        f"no scheduler returned a valid schedule: the scheduler 'confused' of {OWN} failed in"
        f" schedule ({told})."
    )


@pytest.mark.parametrize("error", [SystemExit(3), KeyError("block0")])
def test_a_scheduler_that_raises_or_reorders_what_it_is_given_stops_no_other(
    registry: Registry, error: BaseException
) -> None:
    class Vandal:
        name: ClassVar[str] = "vandal"

        def schedule(self, costs: Any, workers: Any) -> Schedule:
            costs.reverse()
            return Schedule(((),) * len(workers))

    class Sick:
        name: ClassVar[str] = "sick"

        def schedule(self, *_: object) -> Schedule:
            raise error

    all_three: dict[str, Any] = {"vandal": Vandal(), "sick": Sick()}
    all_three |= pick(registry, "scheduler=pipeline")
    costs = tiny_costs()
    choice = choose_schedule(all_three, costs, CREW, Workload(9, 9), obstacle=None)
    assert costs == tiny_costs()
    assert choice.scheduler == "pipeline"
    assert f"'vandal' of {OWN} failed in schedule (AttributeError: " in choice.why
    told = f"{type(error).__name__}: {error}"
    assert f"the scheduler 'sick' of {OWN} failed in schedule ({told})" in choice.why


def test_what_stands_in_the_way_of_a_cache(registry: Registry, digits: DistillationTask) -> None:
    assert "augmented at random" in (cache_obstacle(1.0, digits, BLOCKS, CREW) or "")
    plain = build_task(load_config(["data.crop=0"]), registry, "cpu")
    assert cache_obstacle(1.0, plain, BLOCKS, CREW) is None
    apart = [replace(worker, node=f"node{worker.rank}") for worker in CREW]
    assert "have no common disk" in (cache_obstacle(1.0, plain, BLOCKS, apart) or "")
    little = cache_obstacle(0.001, plain, BLOCKS, CREW) or ""
    assert "it would need 0.0176 GB, but cache_gigabytes is 0.001" in little  # 1,077 x 16 KiB


def test_another_cut_has_another_cache(digits: DistillationTask) -> None:
    other = [Block("conv2_1", 3, (32, 4, 4), (64, 4, 4))]
    assert cache_name(digits, BLOCKS) == cache_name(digits, BLOCKS)
    assert cache_name(digits, BLOCKS) != cache_name(digits, other)
