"""The forms in which labels are taken, and those that are refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pbkd.data.labels import class_numbers
from pbkd.errors import DataError

CLASSES = [2, 0, 1, 2]


@pytest.mark.parametrize(
    "values",
    [
        CLASSES,
        [np.uint8(number) for number in CLASSES],
        [torch.tensor(number) for number in CLASSES],
        torch.tensor(CLASSES, dtype=torch.uint16),
        torch.tensor(CLASSES, dtype=torch.bfloat16),
        torch.tensor(CLASSES, requires_grad=False).reshape(4, 1),
        np.array(CLASSES, dtype=">i4").reshape(4, 1, 1),
        np.array(CLASSES, dtype=np.float16),
        torch.nn.functional.one_hot(torch.tensor(CLASSES)),
        torch.nn.functional.one_hot(torch.tensor(CLASSES), 5).half(),
        [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [torch.eye(3)[number] for number in CLASSES],
    ],
    ids=lambda values: f"{type(values).__name__} {np.shape(values)}",
)
def test_a_class_per_image_is_taken_in_every_form(values: Any) -> None:
    labels = class_numbers(values)
    assert labels.dtype == torch.int64
    assert labels.tolist() == CLASSES


def test_truth_values_are_two_classes_and_no_labels_are_none() -> None:
    assert class_numbers([True, False]).tolist() == [1, 0]
    assert class_numbers(torch.tensor([[False], [True]])).tolist() == [0, 1]
    assert class_numbers([]).tolist() == class_numbers(torch.zeros(0, 3)).tolist() == []


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ([0.0, 2.5], "numbers such as 2.5, as for regression"),
        (torch.tensor([1, float("nan")]), "numbers such as nan"),
        ([[1, 1, 0], [0, 0, 1]], "2 ones in a row of 3 (multi-label)"),
        (torch.tensor([[True, False], [False, False]]), "0 ones in a row of 2 (multi-label)"),
        (torch.tensor([[0.9, 0.1], [0.0, 1.0]]), "soft labels (label smoothing, mixup or cutmix)"),
        (torch.tensor([[3.0, 40.0], [2.0, 1.0]]), "rows of 2 numbers, as for regression or boxes"),
        (torch.zeros(2, 4, 4, dtype=torch.int64), "the shape (2, 4, 4)"),
        (["cat", "dog"], "text, such as 'cat'"),
        ([{"label": 1}], "hold dict"),
        ([[1, 2], [3]], "differ in length between images"),
        ([torch.tensor([1]), torch.tensor([1, 2])], "differ in length between images"),
        (torch.tensor([1j]), "complex"),
    ],
)
def test_other_labels_are_refused_by_what_they_are(values: Any, what: str) -> None:
    with pytest.raises(DataError) as refused:
        class_numbers(values, "the labels of X")
    assert str(refused.value).startswith("the labels of X ")
    assert what in str(refused.value)
    assert "one class per image" in str(refused.value)
