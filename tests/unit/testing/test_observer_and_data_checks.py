from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from pbkd.core.events import EpochDone
from pbkd.data import ArraySplit, Dataset
from pbkd.errors import DataError
from pbkd.testing import (
    check_data,
    check_observer,
    tiny_data,
    tiny_events,
    tiny_result,
    tiny_run_info,
)


@dataclass
class Watching:
    name: ClassVar[str] = "watching"
    faulty: str = ""

    def __post_init__(self) -> None:
        self.seen: list[str] = []

    def _see(self, name: str, what: Any) -> None:
        self.seen.append(f"{name} {type(what).__name__}")
        if name == self.faulty:
            raise KeyError("loss")

    def run_started(self, run: Any) -> None:
        self._see("run_started", run)

    def event(self, event: Any, run: Any) -> None:  # noqa: ARG002
        if isinstance(event, EpochDone):
            self._see("event", event)

    def run_finished(self, result: Any, run: Any) -> None:  # noqa: ARG002
        self._see("run_finished", result)


def test_an_observer_gets_the_whole_run_in_its_order(tmp_path: Path) -> None:
    observer = Watching()
    check_observer(observer, tmp_path)
    assert observer.seen == [
        "run_started RunInfo",
        *["event EpochDone"] * 3,
        "run_finished RunResult",
    ]


@pytest.mark.parametrize("faulty", ["run_started", "event", "run_finished"])
def test_the_method_of_an_observer_that_raises_is_named(faulty: str) -> None:
    with pytest.raises(AssertionError, match=f"^{faulty} of .* raises KeyError: 'loss'"):
        check_observer(Watching(faulty))


def test_an_observer_that_changes_what_it_gets_changes_nothing_else(tmp_path: Path) -> None:
    class Greedy(Watching):
        def run_started(self, run: Any) -> None:
            run.configuration.clear()

        def event(self, event: Any, run: Any) -> None:  # noqa: ARG002
            assert run.configuration["seed"] == 0

    check_observer(Greedy(), tmp_path)


def test_the_tiny_run_agrees_with_itself(tmp_path: Path) -> None:
    events, result = tiny_events(tmp_path), tiny_result(tmp_path)
    assert [event.time for event in events] == sorted(event.time for event in events)
    losses = [e.loss for e in events if isinstance(e, EpochDone) and e.phase == "teacher-fed"]
    assert tuple(losses) == result.blocks[0].teacher_fed_losses
    assert tiny_run_info(tmp_path).configuration["distill"]["epochs"] == len(losses)


def source(change: str) -> Any:
    """Return a source of data that changes something from one call to the next."""
    calls = itertools.count()

    def load() -> Dataset:
        data, call = tiny_data(), next(calls)
        pixels, labels = data.train.images(torch.arange(64)), data.train.labels
        if change == "images":
            pixels = pixels + call
        if change == "labels":
            labels = labels.roll(call)
        count = 64 - call * (change == "size")
        train = ArraySplit(pixels[:count].to(torch.uint8), labels[:count])
        return Dataset(
            name="mine",
            train=train,
            validation=data.validation,
            test=data.test,
            num_classes=4,
            image_shape=(3, 8, 8),
            augmentation=data.augmentation,
        )

    return load


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("images", "other train images"),
        ("labels", "other train labels"),
        ("size", "another number"),
    ],
)
def test_a_source_that_loads_something_else_again(change: str, found: str) -> None:
    with pytest.raises(AssertionError, match=f"^load gives {found}"):
        check_data(source(change))


def test_a_source_that_loads_the_same_again() -> None:
    check_data(source(""))


def test_a_source_that_returns_nothing() -> None:
    with pytest.raises(DataError, match="load returned nothing"):
        check_data(lambda: None)
