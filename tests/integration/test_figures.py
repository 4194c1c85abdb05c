"""Figures of a run that another count must confirm: sums of parts, conservation, plain loops."""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors import safe_open
from torch import Tensor, nn

import pbkd
from pbkd.core.events import EpochDone, JobStarted, PlanMade
from pbkd.core.results import RunResult
from pbkd.data.load import load_data
from pbkd.models.latency import latencies
from pbkd.models.student_files import RECIPE, read_recipe
from pbkd.plugin.registry import Registry
from pbkd.runs.disagreements import read_changes
from pbkd.runs.events import read_events
from pbkd.runs.finished import read_finished
from pbkd.training.link import Outlet, split_rows
from pbkd.training.replicas import replica_traffic
from pbkd.training.shared_norm import share_norms


@pytest.fixture(scope="module")
def result(finished: Path) -> RunResult:
    return read_finished(finished).result


def test_what_blocks_save_is_the_difference_of_teacher_and_student(result: RunResult) -> None:
    saved = [(b.macs_before - b.macs_after, b.parameters_before - b.parameters_after)
             for b in result.blocks if b.replaced]  # fmt: skip
    macs, parameters = (sum(figures) for figures in zip(*saved, strict=True))
    assert result.teacher.macs - result.student.macs == macs > 0
    assert result.teacher.parameters - result.student.parameters == parameters > 0


def test_bytes_and_parameters_are_those_in_the_file(finished: Path, result: RunResult) -> None:
    file = finished / "student" / "model.safetensors"
    with safe_open(file, "pt") as tensors:
        stored = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    assert sum(t.nbytes for t in stored.values()) == result.student.weight_bytes
    assert 0 < file.stat().st_size - (result.student.weight_bytes or 0) < 10_000  # the header
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    weights = [t.numel() for name, t in stored.items() if not name.endswith(buffers)]
    assert sum(weights) == result.student.parameters


def test_accuracies_are_counted_once_more_by_a_plain_loop(
    registry: Registry, finished: Path, result: RunResult
) -> None:
    test = load_data({"name": "digits"}, registry).test
    student = pbkd.load(finished / "student")
    scale = read_recipe(finished / "student" / RECIPE).normalization
    assert scale is not None
    (mean,), (std,) = scale.mean, scale.std
    right = 0
    for row in range(len(test)):
        image = test.images(torch.tensor([row])).float() / 255
        with torch.no_grad():
            right += int(student((image - mean) / std).argmax() == test.labels[row])
    assert result.student.accuracy == right / len(test)
    assert result.accuracies["fine-tuned"] == result.student.accuracy


def test_the_table_of_changes_the_classes_and_the_pictures_agree(
    finished: Path, result: RunResult
) -> None:
    change, images = result.change, result.test_images
    assert change is not None and images is not None
    assert change.images == images == sum(score.images for score in result.classes)
    teacher, student = (
        sum(getattr(score, f"{role}_correct") for score in result.classes)
        for role in ("teacher", "student")
    )
    assert (change.both_correct + change.lost, change.both_correct + change.gained) == (
        teacher, student,
    )  # fmt: skip
    assert (teacher / images, student / images) == (
        result.teacher.accuracy, result.student.accuracy,
    )  # fmt: skip
    changes = read_changes(finished)
    assert (changes.images, changes.lost, changes.gained) == (images, change.lost, change.gained)
    assert changes.changed >= change.lost + change.gained


def test_every_epoch_has_the_steps_and_images_that_it_says(finished: Path) -> None:
    events = read_events(finished)
    (plan,) = (event for event in events if isinstance(event, PlanMade))
    epochs = Counter(event.phase for event in events if isinstance(event, EpochDone))
    assert {phase: epochs[phase] for phase in plan.totals} == dict(plan.totals)
    for job in (event for event in events if isinstance(event, JobStarted)):
        assert job.steps * job.images <= 1437 - job.steps  # the digits that are not tested on


def test_phases_fill_the_run_and_no_processor_works_twice(
    finished: Path, result: RunResult
) -> None:
    events = read_events(finished)
    whole = events[-1].time - events[0].time
    seconds = sum(phase.seconds for phase in result.phases)
    assert 0.7 * whole <= seconds <= whole + 1
    for phase in result.phases:
        assert phase.cpu_seconds <= 1.1 * phase.seconds * (os.cpu_count() or 1) + 0.1


def test_latency_is_what_a_stopwatch_says() -> None:
    network = nn.Sequential(*(nn.Linear(512, 512) for _ in range(20)))
    images, passes = torch.zeros(64, 512), []
    with torch.no_grad():
        for _ in range(20):
            start = time.perf_counter()
            network(images)
            passes.append(time.perf_counter() - start)
    median = latencies({"network": network}, images)["network"].median_seconds
    assert median == pytest.approx(statistics.median(passes), rel=1.0)


class CountedExchange:
    """Exchanges with nobody."""

    def __init__(self) -> None:
        self.exchanges = 0

    def gather(self, *values: Tensor, count: int = 0) -> tuple[Tensor, tuple[int, ...]]:
        self.exchanges += 1
        return torch.cat(values)[None], (count,)

    def add(self, _values: Tensor) -> None:
        self.exchanges += 1


def test_exchanges_of_replicas_are_those_that_a_step_makes() -> None:
    exchange = CountedExchange()
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3),
                           nn.BatchNorm2d(2))  # fmt: skip
    share_norms(module, exchange)
    module(torch.randn(4, 1, 8, 8)).square().sum().backward()
    size, exchanges = replica_traffic(module)
    assert exchange.exchanges == exchanges - 2  # without the gradients and the loss's scale
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    assert sum(gradient.nbytes for gradient in gradients) == size


@pytest.mark.parametrize("receivers", [1, 2, 3])
def test_a_relay_sends_the_bytes_of_the_next_blocks_input(
    monkeypatch: pytest.MonkeyPatch, receivers: int
) -> None:
    sent: list[int] = []

    class Done:
        def wait(self) -> None:
            pass

    def isend(rows: torch.Tensor, _rank: int, tag: int) -> Done:
        assert tag == 0
        sent.append(rows.nbytes)
        return Done()

    monkeypatch.setattr(dist, "isend", isend)
    monkeypatch.setattr(dist, "get_backend", lambda: "gloo")
    activation = torch.zeros(6, 3, 4, 4)
    outlet = Outlet(split_rows(range(receivers), 6), streams=1)
    outlet.send((activation, activation))
    outlet.close()
    assert (len(sent), sum(sent)) == (receivers, activation.nbytes)  # BlockCost.input_bytes
