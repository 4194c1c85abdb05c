"""Which folders are splits and which are classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbkd.data.folder_layout import find_layout
from pbkd.errors import DataError


def make(root: Path, *folders: str) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True)
    return root


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("a", "b"), {"train": ""}),
        (("train/a", "train/b"), {"train": "train"}),
        (("Train/a", "VAL/a"), {"train": "Train", "val": "VAL"}),
        (("train/a", "valid/a"), {"train": "train", "val": "valid"}),
        (("training/a", "validation/a", "testing/a"),
         {"train": "training", "val": "validation", "test": "testing"}),
        (("train/a", "test/a"), {"train": "train", "test": "test"}),
        (("train/a", "test", "val/a"), {"train": "train", "val": "val"}),
        (("bus", "car", "train"), {"train": ""}),
        (("train/a", ".git/a", "__MACOSX/a"), {"train": "train"}),
    ],
    ids=str,
)  # fmt: skip
def test_splits_are_found_by_the_names_that_people_use(
    tmp_path: Path, folders: tuple[str, ...], splits: dict[str, str]
) -> None:
    layout = find_layout(make(tmp_path, *folders), labelled=True)
    assert layout.folders == {split: tmp_path / name for split, name in splits.items()}


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ((), "must hold one folder of pictures for each class; set data.path"),
        (("train", "val"), r"train' or '.*val' must hold one folder of pictures for each class"),
        (("a", "b", "test"), r"test' must hold one folder of pictures"),
        (("val/a", "test/a"), r"has val/, test/ with a folder for each class, but no train/"),
        (("train/a", "Train/a"), "has both Train/ and train/, which mean the same"),
        (("train/a", "val/a", "valid/a"), "has both val/ and valid/"),
        (("flowers/train/a", "flowers/val/a"), "set data.path to '.*flowers' if the classes"),
    ],
    ids=str,
)
def test_layouts_that_could_mean_two_things_are_refused(
    tmp_path: Path, folders: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        find_layout(make(tmp_path, *folders), labelled=True)


def test_folders_beside_the_splits_are_noted(tmp_path: Path) -> None:
    make(tmp_path, "train/a", "train/b", "test", "extra/a", "docs")
    beside, flat = find_layout(tmp_path, labelled=True).notes
    assert beside == "Left out docs/, extra/ beside train/."
    assert flat == f"Left out test/ of '{tmp_path}', which has no folder for each class."


def test_without_labels_only_train_makes_splits(tmp_path: Path) -> None:
    make(tmp_path / "all", "val", "holiday")
    make(tmp_path / "split", "Train", "valid")
    assert find_layout(tmp_path / "all", labelled=False).folders == {"train": tmp_path / "all"}
    split = find_layout(tmp_path / "split", labelled=False).folders
    assert split == {"train": tmp_path / "split" / "Train", "val": tmp_path / "split" / "valid"}
    with pytest.raises(DataError, match=r"there is no folder '.*nowhere'; set data\.path"):
        find_layout(tmp_path / "nowhere", labelled=False)
