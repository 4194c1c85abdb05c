from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from pbkd_soft_target import SoftTarget

from pbkd.data.batching import shuffled_batches
from pbkd.models.accuracy import accuracy
from pbkd.pipeline.epoch_seconds import seconds_per_epoch
from pbkd.training.applied_loss import AppliedLoss
from pbkd.training.finetune import TrainingSettings
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
    """With a clock of 2 s for each training step and 5 s for a validation pass."""
    clock = [0.0]
    monkeypatch.setattr("pbkd.pipeline.epoch_seconds.time.perf_counter", lambda: clock[0])

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
    assert seconds_per_epoch(student, digits, SETTINGS, None) == 2 * steps + 5
    assert all(torch.equal(before[name], t) for name, t in student.state_dict().items())


def test_an_epoch_of_few_steps_can_be_timed_too(digits: DistillationTask) -> None:
    student = copy.deepcopy(digits.chain).requires_grad_(True)
    for batch_size in (720, 5000):  # one step, of all images or more than there are
        settings = replace(SETTINGS, batch_size=batch_size)
        assert 0 < seconds_per_epoch(student, digits, settings, digits.feeding) < 60
