"""One rule for labels and outputs: the teacher's outputs are the classes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from pbkd.data.datasets import ArraySplit, Dataset, missing_labels
from pbkd.errors import TeacherError
from pbkd.models.classes import fit_classes
from pbkd.testing.tiny import tiny_data


def labelled(low: int, high: int) -> Dataset:
    """Return data with these labels in the training split, and the highest only in the test."""
    data = tiny_data()
    labels = low + torch.arange(len(data.train)) % (high - low)
    train = ArraySplit(data.train.pixels, labels)  # type: ignore[attr-defined]
    test = ArraySplit(data.test.pixels, torch.full((len(data.test),), high))  # type: ignore[attr-defined]
    return replace(data, train=train, validation=train, test=test, num_classes=high + 1)


def fitted(data: Dataset, outputs: int) -> Dataset:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, outputs))
    return fit_classes(network, data, torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize(("low", "high"), [(0, 9), (0, 6), (3, 7)])
def test_labels_may_lack_classes_of_the_teacher(low: int, high: int) -> None:
    data = fitted(labelled(low, high), 10)
    assert data.num_classes == 10
    count = high - low + 1
    expected = f"The images have labels of {count} of the teacher's 10 classes."
    assert data.notes == (() if count == 10 else (expected,))


def test_a_background_class_is_thought_of_where_it_is_likely() -> None:
    assert "add 1 to each label" in fitted(labelled(0, 999), 1001).notes[0]
    assert "background" not in fitted(labelled(0, 998), 1000).notes[0]


@pytest.mark.parametrize(
    ("low", "high", "outputs", "cure"),
    [
        (1, 10, 10, "counted from 1, subtract 1 from each"),
        (2, 10, 10, "counted from 1, subtract 1 from each"),
        (1000, 1004, 10, "counted from 1000, subtract 1000 from each"),
        (0, 10, 10, "class 0 is a background class that the teacher lacks"),
        (0, 12, 10, "number the classes as the teacher's outputs"),
        (5, 40, 10, "number the classes as the teacher's outputs"),
    ],
)
def test_labels_beyond_the_outputs_are_refused_with_what_was_seen(
    low: int, high: int, outputs: int, cure: str
) -> None:
    with pytest.raises(TeacherError) as refused:
        fitted(labelled(low, high), outputs)
    seen = f"run from {low} to {high}, but the teacher has {outputs} outputs"
    assert seen in str(refused.value)
    assert cure in str(refused.value)


def test_one_output_has_no_class_to_predict() -> None:
    data = tiny_data()
    none = ArraySplit(data.train.pixels, missing_labels(64))  # type: ignore[attr-defined]
    unlabelled = replace(data, train=none, validation=none, test=none, num_classes=None)
    assert fitted(unlabelled, 2) is unlabelled
    for given in (data, unlabelled):
        with pytest.raises(TeacherError, match="one logit for each of two or more classes"):
            fitted(given, 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", ["weight", "bias"])
def test_outputs_that_are_not_finite_are_the_teachers_and_not_a_plugins_fault(
    value: float, where: str
) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    with torch.no_grad():
        network.get_parameter(f"1.{where}").view(-1)[0] = value
    with pytest.raises(
        TeacherError, match="gives outputs that are not finite .* check its weights"
    ):
        fit_classes(network, tiny_data(), torch.ones(2, 3, 8, 8))
