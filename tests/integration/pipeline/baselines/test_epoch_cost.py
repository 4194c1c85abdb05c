from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from pbkd_soft_target import SoftTarget

from pbkd.data.batching import shuffled_batches
from pbkd.models.accuracy import accuracy
from pbkd.pipeline.baselines.epoch_cost import Spent, TimeBudget, epoch_cost
from pbkd.training.applied_loss import AppliedLoss
from pbkd.training.training_settings import TrainingSettings
from tests.optimisations import optimisation

if TYPE_CHECKING:
    from pbkd.training.task import DistillationTask

SETTINGS = TrainingSettings(
    epochs=1,
    optimisation=optimisation(0.003, 0.05),
    batch_size=64,
    seed=0,
    loss=AppliedLoss(SoftTarget()),
)


def test_an_epochs_seconds_are_worked_out_from_steps_and_a_validation_pass(
    digits: DistillationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock of 2 s for each training step and 5 s for a validation pass, on two cores."""
    clock = [0.0]
    module = "pbkd.pipeline.baselines.epoch_cost"
    monkeypatch.setattr(f"{module}.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr(f"{module}.cpu_seconds", lambda: 2 * clock[0])

    def slow_batches(*args: Any, **options: Any) -> Any:
        for batch in shuffled_batches(*args, **options):
            clock[0] += 2.0
            yield batch

    def slow_accuracy(*args: Any, **options: Any) -> float:
        clock[0] += 5.0
        return accuracy(*args, **options)

    monkeypatch.setattr("pbkd.training.finetune.shuffled_batches", slow_batches)
    monkeypatch.setattr("pbkd.training.task.accuracy", slow_accuracy)
    student = copy.deepcopy(digits.chain).requires_grad_(True)
    before = copy.deepcopy(student.state_dict())
    steps = 1077 // 64
    cost = 2 * steps + 5
    assert epoch_cost(student, digits, SETTINGS, None) == (cost, 2 * cost)
    assert all(torch.equal(before[name], t) for name, t in student.state_dict().items())


def test_an_epoch_of_few_steps_can_be_timed_too(digits: DistillationTask) -> None:
    student = copy.deepcopy(digits.chain).requires_grad_(True)
    settings = replace(SETTINGS, batch_size=5000)  # one step, of more images than there are
    assert 0 < epoch_cost(student, digits, settings, digits.feeding).seconds < 60


def test_the_epochs_are_those_nearest_to_the_budget() -> None:
    cost = Spent(seconds=2.0, cpu_seconds=3.0)
    assert [TimeBudget(None, given).epochs(cost) for given in (1.0, 4.4, 4.6, 30)] == [1, 1, 2, 10]
    assert [TimeBudget(given, None).epochs(cost) for given in (4.0, 6.9, 7.1)] == [2, 3, 4]
    assert TimeBudget(None, 3.0).note(cost) is None
    assert TimeBudget(1.0, None).note(cost) == (
        "The 1.00 seconds allowed are less than an epoch takes (2.00 seconds): one whole epoch was"
        " trained."
    )
