from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from pbkd.models.accuracy import predict_classes
from pbkd.models.student import assemble
from pbkd.pipeline.evaluate import predict_stages
from pbkd.pipeline.refine import Stage
from pbkd.training.best_state import copy_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from pbkd.training.task import DistillationTask


class Predicting:
    """Predicts the test images with states of a student, and remembers the states."""

    def __init__(self, task: DistillationTask, student: nn.Module) -> None:
        self.task, self.student = task, student
        self.asked: list[str] = []

    def __call__(self, states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        classes = {}
        for name, state in states.items():
            self.asked.append(name)
            self.student.load_state_dict(state)
            classes[name] = self.task.predict(self.student, self.task.data.test)
        return classes


def _stage(student: nn.Module, scale: float) -> Stage:
    state = copy_state(student)
    first = next(name for name, tensor in state.items() if tensor.is_floating_point())
    return Stage({**state, first: scale * state[first]}, 0.0, torch.zeros(0))


def test_stages_with_the_same_weights_are_predicted_once(digits: DistillationTask) -> None:
    student = assemble(digits.chain, {})
    predict = Predicting(digits, student)
    stages = {
        "assembled": _stage(student, -1.0),
        "recalibrated": _stage(student, 1.0),
        "fine-tuned": _stage(student, -1.0),
        "skipped": None,
    }
    final, by_stage = predict_stages(student, stages, predict)
    assert predict.asked == ["assembled", "recalibrated"]
    assert by_stage["assembled"] is by_stage["fine-tuned"]
    assert by_stage["recalibrated"] is final
    assert by_stage["skipped"] is None
    assert by_stage["assembled"] is not None and not torch.equal(final, by_stage["assembled"])


def test_the_student_is_left_as_it_was(digits: DistillationTask) -> None:
    student = assemble(digits.chain, {})
    before = copy_state(student)
    predict_stages(student, {"assembled": _stage(student, 2.0)}, Predicting(digits, student))
    assert all(torch.equal(before[name], t) for name, t in student.state_dict().items())


def test_a_student_that_equals_the_teacher_predicts_its_classes(digits: DistillationTask) -> None:
    student = assemble(digits.chain, {})
    final, _ = predict_stages(student, {}, Predicting(digits, student))
    assert torch.equal(final, digits.teacher_classes)


def test_the_teacher_is_asked_once(
    digits: DistillationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks: list[nn.Module] = []

    def spy(network: nn.Module, *args: Any, **options: Any) -> Tensor:
        networks.append(network)
        return predict_classes(network, *args, **options)

    monkeypatch.setattr("pbkd.training.task.predict_classes", spy)
    digits.__dict__.pop("teacher_classes", None)
    assert digits.teacher_classes is digits.teacher_classes
    assert networks == [digits.teacher.network]
