from __future__ import annotations

import pytest
import torch

from pbkd.models.paired_scores import class_scores, paired_change

LABELS = torch.tensor([0, 0, 0, 2, 2, 3])
CLASSES = {
    "teacher": torch.tensor([0, 0, 1, 2, 0, 1]),
    "student": torch.tensor([0, 1, 0, 2, 1, 1]),
}


def test_the_change_counts_each_image_in_one_of_four_cells() -> None:
    change = paired_change(CLASSES, LABELS)
    cells = change.both_correct, change.lost, change.gained, change.both_wrong
    assert cells == (2, 1, 1, 2)
    assert change.images == 6
    assert change.difference == 0
    assert change.interval[0] == pytest.approx(-change.interval[1])
    turned = {"teacher": CLASSES["student"], "student": LABELS}
    assert paired_change(turned, LABELS).difference == pytest.approx(0.5)


def test_classes_with_images_are_counted_with_their_names() -> None:
    scores = class_scores(CLASSES, LABELS, ("ant", "bee", "cat"))
    counts = [(s.label, s.name, s.images, s.teacher_correct, s.student_correct) for s in scores]
    assert counts == [(0, "ant", 3, 2, 2), (2, "cat", 2, 1, 1), (3, None, 1, 0, 0)]
    assert {score.name for score in class_scores(CLASSES, LABELS, None)} == {None}


@pytest.mark.parametrize("label", [0, 9])
def test_a_single_class_is_counted(label: int) -> None:
    labels = torch.full((5,), label)
    (score,) = class_scores({"teacher": labels, "student": labels * 0}, labels, None)
    assert (score.images, score.teacher_correct) == (5, 5)
    assert score.student_correct == (5 if label == 0 else 0)
