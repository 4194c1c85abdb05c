from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from pbkd.config.load import load_config
from pbkd.core.blocks import candidate_of
from pbkd.core.events import PlanMade
from pbkd.core.results import Latency
from pbkd.core.schedule import Worker
from pbkd.data.datasets import ArraySplit
from pbkd.models.metrics import macs
from pbkd.pipeline import predict_phases
from pbkd.pipeline.predict_phases import measure_loading, plan_whole_run
from pbkd.runs.events import read_events
from pbkd.runs.finished import read_finished

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from pbkd.plugin.registry import Registry
    from pbkd.training.task import DistillationTask

STUDENT_FED = "distill.student_fed_epochs=1"
PHASES = [
    "teacher-fed", "scoring", "student-fed", "recalibration", "fine-tuning", "evaluation",
]  # fmt: skip


def test_every_replacement_is_expected_to_enter_the_student(registry: Registry) -> None:
    planned = plan_whole_run(
        load_config(["threads=1", "keep=[stem*, head*, conv3*]", STUDENT_FED]), registry
    )
    assert planned.expected == ("conv1_2", "conv2_1", "conv2_2")
    assert list(planned.phases) == PHASES
    assert all(seconds > 0 for seconds in planned.phases.values())


def test_under_a_budget_the_largest_student_that_meets_it_is_expected(registry: Registry) -> None:
    overrides = ["threads=1", "target.macs=0.5", "candidates=[{name: low-rank, share: 0.5}]"]
    planned = plan_whole_run(load_config(overrides), registry)
    names = planned.expected
    blocks = {p.name: p for p in planned.plan.trained}
    assert len({candidate_of(name)[0] for name in names}) == len(names)
    saved = sum(blocks[name].macs_before - blocks[name].macs_after for name in names)
    teacher = macs(planned.task.teacher.network, planned.task.data.image_shape)
    assert 0.4 < 1 - saved / teacher <= 0.5


def test_the_student_fed_phase_of_several_workers_is_a_relay(registry: Registry) -> None:
    planned = plan_whole_run(load_config(["threads=1", "workers=2", STUDENT_FED]), registry)
    assert planned.phases["student-fed"] > 2.5  # to start them
    assert list(planned.phases) == PHASES


@pytest.mark.parametrize(("autocast", "factor"), [("none", 1), ("bf16", 3)])
def test_scoring_is_predicted_in_float32(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, autocast: str, factor: float
) -> None:
    found = {"scoring": Latency(0.03, 0.03, 64, 1), "training": Latency(0.01, 0.01, 64, 1)}
    monkeypatch.setattr(predict_phases, "latencies", lambda _passes, _images: found)
    planned = plan_whole_run(load_config(["threads=1", f"autocast={autocast}"]), registry)
    assert planned.work is not None
    teacher = factor * sum(planned.plan.segment_seconds.values())
    costs = [each.cost.teacher_seconds for each in planned.work.passes]
    assert costs[-1] == pytest.approx(teacher)  # of the teacher in evaluation


class Dice(ArraySplit):
    """Images that are changed at random whenever they are read."""

    def images(self, indices: Tensor) -> Tensor:
        torch.rand(1)
        random.random()
        return super().images(indices)


def test_timing_the_reading_leaves_the_random_state_as_it_is(digits: DistillationTask) -> None:
    split = Dice(torch.zeros(70, 1, 8, 8, dtype=torch.uint8), torch.zeros(70, dtype=torch.int64))
    task = replace(digits, training=replace(digits.training, train=split))
    before, everywhere = torch.get_rng_state(), random.getstate()
    loading = measure_loading(task, 64, Worker(0, "cpu", 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == everywhere
    assert loading.own_seconds > 0


def test_a_run_keeps_its_prediction(finished: Path) -> None:
    phases = {phase.name: phase for phase in read_finished(finished).result.phases}
    predicted = {name: phase.predicted_seconds for name, phase in phases.items()}
    (made,) = (event for event in read_events(finished) if isinstance(event, PlanMade))
    assert predicted.pop("planning") is None
    assert made.phases == {"planning": phases["planning"].seconds, **predicted}
    assert [name for name, seconds in predicted.items() if not seconds] == ["student-fed"]
