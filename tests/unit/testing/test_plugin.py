"""The kit for plugin authors finds what is wrong, and says what it is."""

from __future__ import annotations

import builtins
import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from pbkd_greedy import Greedy
from pbkd_low_rank import LowRankBuilder
from pbkd_vgg import VggPartitioner
from torch import nn

import pbkd
from pbkd import Built
from pbkd.core.schedule import Schedule
from pbkd.errors import ScheduleError
from pbkd.protocols import ZooModel
from pbkd.testing import (
    check_builder,
    check_launcher,
    check_model,
    check_partitioner,
    check_plugin,
    check_scheduler,
    tiny_costs,
    tiny_teacher,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pbkd import Block, BlockCost, Worker


IMAGES = torch.rand(2, 3, 8, 8)


class _Scheduler:
    """Greedy, but for what a test puts before or after it."""

    name: ClassVar[str] = "mine"

    def __init__(self, before: Any = None, after: Any = None) -> None:
        self.before, self.after = before, after

    def schedule(self, costs: Sequence[BlockCost], workers: Sequence[Worker]) -> Schedule:
        if self.before:
            self.before(costs)
        schedule = Greedy().schedule(costs, workers)
        return self.after(schedule) if self.after else schedule


def _flicker() -> Callable[[Schedule], Schedule]:
    turns = iter(range(1000))
    return lambda schedule: (
        Schedule(schedule.assigned[::-1]) if next(turns) % 2 else Schedule(schedule.assigned)
    )


@pytest.mark.parametrize(
    ("scheduler", "told"),
    [
        (_Scheduler(before=lambda costs: costs.clear()), "changes"),
        (_Scheduler(after=_flicker()), "different schedules for the same"),
        (_Scheduler(after=lambda s: Schedule((*s.assigned, ()))), "assigns jobs to 2 workers"),
        (_Scheduler(after=lambda s: Schedule(((),) * len(s.assigned))), "drops the blocks block0"),
        (_Scheduler(after=lambda s: s.assigned), "returns tuple, not a pbkd.Schedule"),
    ],
)
def test_a_scheduler_that_is_wrong(scheduler: Any, told: str) -> None:
    with pytest.raises((AssertionError, ScheduleError), match=told):
        check_scheduler(scheduler)


@pytest.mark.parametrize("hypothesis", [True, False])
def test_a_scheduler_is_tried_on_costs_that_its_author_did_not_think_of(
    hypothesis: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Careless(_Scheduler):
        def schedule(self, costs: Sequence[BlockCost], workers: Sequence[Worker]) -> Schedule:
            if any(worker.speed < 0.5 for worker in workers):
                return Schedule(((),) * len(workers))
            return Greedy().schedule(costs, workers)

    real = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name == "hypothesis":
            raise ImportError(name)
        return real(name, *rest, **options)

    if not hypothesis:
        monkeypatch.setattr(builtins, "__import__", without)
    check_scheduler(Careless(), tiny_costs(9), workers=3)
    with pytest.raises(ScheduleError, match="drops the blocks"):
        check_scheduler(Careless())


class _Partitioner(VggPartitioner):
    name: ClassVar[str] = "mine"

    def accepts(self, teacher: nn.Module) -> Any:
        return super().accepts(teacher) or None


class _Vandal(VggPartitioner):
    def partition(self, teacher: nn.Module) -> nn.Sequential:
        next(teacher.parameters()).data.mul_(2)
        return super().partition(teacher)


class _Copier(VggPartitioner):
    def partition(self, teacher: nn.Module) -> nn.Sequential:
        return super().partition(copy.deepcopy(teacher))


@pytest.mark.parametrize(
    ("partitioner", "told"),
    [
        (_Partitioner(), "accepts returns None for a Identity, not True or False"),
        (_Vandal(), "partition changes the teacher's weights"),
        (_Copier(), "has tensors that are not the teacher's: .'conv1_1.0.weight'"),
    ],
)
def test_a_partitioner_that_is_wrong(partitioner: VggPartitioner, told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        check_partitioner(partitioner, tiny_teacher(), IMAGES)


class _Builder:
    """Builds what a test's function makes of the segment."""

    name: ClassVar[str] = "mine"

    def __init__(self, make: Callable[[nn.Module, Block], Any]) -> None:
        self.make = make

    def build(self, segment: nn.Module, block: Block) -> Any:
        return self.make(segment, block)


def _low_rank(segment: nn.Module, block: Block) -> nn.Module:
    built = LowRankBuilder().build(segment, block)
    assert isinstance(built, nn.Module)
    return built


def _unpicklable(segment: nn.Module, block: Block) -> nn.Module:
    built = _low_rank(segment, block)
    built.register_forward_hook(lambda *_: None)
    return built


def _in_place(segment: nn.Module, block: Block) -> nn.Module:
    return nn.Sequential(nn.ReLU(inplace=True), _low_rank(segment, block))


def _spoiling(segment: nn.Module, block: Block) -> nn.Module:
    next(segment.parameters()).data[0] = 0
    return _low_rank(segment, block)


def _noisy(segment: nn.Module, block: Block) -> nn.Module:
    torch.seed()
    built = _low_rank(segment, block)
    next(built.parameters()).data.normal_()
    return built


def _by_weights(segment: nn.Module, block: Block) -> nn.Module | Built | None:
    large = next(segment.parameters()).abs().max() > 1
    return LowRankBuilder(0.6 if large else 0.3).build(segment, block)


def _unknown_option(segment: nn.Module, block: Block) -> Built:
    return Built(_low_rank(segment, block), {"rnak": 3})


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda *_: None, "returns no replacement for any of the test segments"),
        (lambda *_: "a network", "build returns a str, not a torch module, pbkd.Built or None"),
        (lambda segment, _: segment, "shares a tensor with the teacher's segment"),
        (
            lambda *_: nn.Conv2d(8, 16, 1),
            "returns .1, 16, 6, 6. for .1, 8, 6, 6., not .1, 16, 3, 3.",
        ),
        (_unpicklable, "cannot be pickled"),
        (_in_place, "changes its input in place"),
        (_spoiling, "the builder changes the teacher's segment"),
        (_noisy, "different weights for the same seed"),
        (
            _by_weights,
            "other weights it has tensors of other names or shapes .*; return pbkd.Built",
        ),
        (_unknown_option, "states options that it does not take: unknown option .*rnak"),
        (lambda *both: Built(_low_rank(*both), {"a": torch}), "returns options that are not JSON"),
    ],
)
def test_a_builder_that_is_wrong(make: Callable[[nn.Module, Block], Any], told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        check_builder(_Builder(make))


class _Launcher:
    """Does the work of as many workers as a test says, in this process."""

    name: ClassVar[str] = "mine"

    def __init__(self, most: int) -> None:
        self.most = most

    def launch(
        self, work: Callable[[Path, int], None], folder: Path, workers: Sequence[Worker]
    ) -> None:
        for worker in workers[: self.most]:
            work(folder, worker.rank)


@pytest.mark.parametrize(
    ("most", "told"),
    [
        (0, "returned after the work of 0 ranks, but there are 1 workers"),
        (1, "returned after the work of 1 ranks, but there are 2 workers"),
        (2, "worker 0 has no environment variable RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT"),
    ],
)
def test_a_launcher_that_is_wrong(most: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AssertionError, match=told):
        check_launcher(_Launcher(most))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            ZooModel("m", tiny_teacher, "tiny", (0.5,), (0.5,)),
            "expected input.* to have 3 channels",
        ),
        (ZooModel("m", tiny_teacher, "tiny", (0.5,) * 3, (0.0,) * 3), "std must be above 0"),
        (ZooModel("m", tiny_teacher, "", (0.5,) * 3, (0.5,) * 3), "no summary"),
        (ZooModel("m", lambda: nn.Conv2d(3, 3, 3), "c", (0.5,) * 3, (0.5,) * 3), "not .2, classes"),
        (ZooModel("m", lambda: 3, "c", (0.5,) * 3, (0.5,) * 3), "build returns a int"),  # type: ignore[arg-type, return-value]
    ],
)
def test_a_model_that_is_wrong(model: ZooModel, told: str) -> None:
    with pytest.raises((AssertionError, RuntimeError), match=told):
        check_model(model)


def test_a_plugin_is_checked_in_all_that_it_registers() -> None:
    class Wrong(_Scheduler):
        name = "wrong"

        def __init__(self) -> None:
            super().__init__(after=lambda _: None)

    class Model:
        @pbkd.hookimpl
        def register_schedulers(self) -> list[type]:
            return [Wrong]

        @pbkd.hookimpl
        def register_models(self) -> list[ZooModel]:
            return [ZooModel("sound", tiny_teacher, "tiny", (0.5,) * 3, (0.5,) * 3)]

    with pytest.raises(AssertionError) as caught:
        check_plugin(Model())
    # In the development of pbkd itself pytest adds lines of its own.
    told, *_ = str(caught.value).splitlines()
    assert told == "scheduler wrong: it returns NoneType, not a pbkd.Schedule."
