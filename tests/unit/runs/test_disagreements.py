from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pbkd.core.files import write_json
from pbkd.data.datasets import ArraySplit
from pbkd.errors import RunFolderError
from pbkd.runs.disagreements import Answer, Changes, find_changes, read_changes, write_changes

LABELS = torch.tensor([0, 1, 2, 0, 1])
TEACHER = torch.tensor([0, 1, 1, 2, 1])
STUDENT = torch.tensor([0, 2, 2, 1, 2])
PIXELS = torch.arange(5 * 3 * 80 * 40).reshape(5, 3, 80, 40).to(torch.uint8)


def changes(pixels: torch.Tensor = PIXELS, *, labelled: bool = True) -> Changes:
    return find_changes(ArraySplit(pixels, LABELS), TEACHER, STUDENT, labelled=labelled)


def test_what_only_one_of_the_two_gets_right_is_counted() -> None:
    found = changes()
    assert (found.images, found.changed, found.gained, found.lost) == (5, 4, 1, 2)
    assert found.confusions == (Answer(1, 1, 2, 2), Answer(2, 1, 2), Answer(0, 2, 1))
    classes = [(answer.label, answer.teacher, answer.student) for answer in found.examples]
    assert classes == [(1, 1, 2), (1, 1, 2), (2, 1, 2), (0, 2, 1)]  # what was lost is first


def test_without_labels_nobody_is_right() -> None:
    found = changes(labelled=False)
    assert (found.changed, found.gained, found.lost) == (4, None, None)
    assert {answer.label for answer in (*found.confusions, *found.examples)} == {None}


def test_examples_are_small_pictures_of_their_images() -> None:
    picture = Image.open(io.BytesIO(changes(PIXELS[:, :, :32, :32]).examples[0].png))
    assert picture.size == (32, 32)
    assert picture.getpixel((3, 2)) == tuple(PIXELS[1, :, 2, 3].tolist())
    assert Image.open(io.BytesIO(changes().examples[0].png)).size == (32, 64)
    assert Image.open(io.BytesIO(changes(PIXELS[:, :1]).examples[0].png)).mode == "L"


def test_images_that_are_no_bytes_have_no_picture() -> None:
    assert {answer.png for answer in changes(PIXELS.float()).examples} == {b""}
    assert {answer.png for answer in changes(PIXELS[:, :2]).examples} == {b""}


def test_a_folder_gives_back_what_was_written(tmp_path: Path) -> None:
    write_changes(tmp_path, changes())
    assert read_changes(tmp_path) == changes()


def test_no_more_than_a_dozen_examples_are_kept() -> None:
    split = ArraySplit(torch.zeros(50, 1, 8, 8, dtype=torch.uint8), torch.zeros(50).long())
    found = find_changes(split, torch.zeros(50).long(), torch.arange(50), labelled=True)
    assert (found.changed, len(found.examples), len(found.confusions)) == (49, 12, 20)


def test_examples_are_of_as_many_classes_as_there_are() -> None:
    labels = torch.arange(5).repeat_interleave(10)
    split = ArraySplit(torch.zeros(50, 1, 8, 8, dtype=torch.uint8), labels)
    found = find_changes(split, labels, labels + 1, labelled=True)
    assert [answer.label for answer in found.examples] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("images", None),
        ("changed", "7"),
        ("lost", -1),
        ("confusions", [{"label": 1}]),
        ("examples", [{"label": 1, "teacher": 1, "student": 2, "png": "PHN2Zz4="}]),
        ("examples", [{"label": 1, "teacher": 1, "student": 2, "png": "'>"}]),
        ("examples", [{"label": "<b>", "teacher": 1, "student": 2}]),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    write_changes(tmp_path, changes())
    tree = json.loads((tmp_path / "changes.json").read_text())
    write_json(tmp_path / "changes.json", {**tree, key: value})
    with pytest.raises(RunFolderError, match=r"changes\.json' is not a list of changes"):
        read_changes(tmp_path)
