"""The layout of a folder of pictures: which of its folders are splits, and which are classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pbkd.data.picture_files import list_folders
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


__all__ = ["Layout", "find_layout"]

_SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Names of folders, in any case, by the split that they hold."""


class Layout(NamedTuple):
    """The folder of each split (`train`, and `val` and `test` if there are any), and remarks."""

    folders: dict[str, Path]
    notes: tuple[str, ...]


def find_layout(root: Path, *, labelled: bool) -> Layout:
    """Find the folders of the splits.

    Args:
        root: The folder of the data set: it holds one folder for each split, or, without splits,
            one folder for each class; without labels, pictures anywhere.
        labelled: Whether folders are classes. If so, a folder is a split if it holds folders.

    Raises:
        DataError: There is no such folder, or it has neither layout.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder '{root}'; set data.path to a folder of pictures.")
    names = list_folders(root)
    splits = _by_split(root, [name for name in names if name.lower() in _SPLITS])
    if labelled:
        return _labelled_layout(root, names, splits)
    return _split_layout(names, splits) if "train" in splits else Layout({"train": root}, ())


def _by_split(root: Path, names: list[str]) -> dict[str, Path]:
    splits: dict[str, Path] = {}
    for name in names:
        split = _SPLITS[name.lower()]
        if split in splits:
            raise DataError(
                f"'{root}' has both {splits[split].name}/ and {name}/, which mean the same: remove"
                " or rename one of them."
            )
        splits[split] = root / name
    return {split: splits[split] for split in ("train", "val", "test") if split in splits}


def _labelled_layout(root: Path, names: list[str], splits: Mapping[str, Path]) -> Layout:
    with_classes = {split: path for split, path in splits.items() if list_folders(path)}
    if not with_classes:
        return _class_layout(root, names, splits)
    if "train" not in with_classes:
        there = ", ".join(f"{path.name}/" for path in with_classes.values())
        raise DataError(
            f"'{root}' has {there} with a folder for each class, but no train/ of that kind."
        )
    layout = _split_layout(names, with_classes)
    flat = [f"{path.name}/" for split, path in splits.items() if split not in with_classes]
    note = f"Left out {', '.join(flat)} of '{root}', which has no folder for each class."
    return Layout(layout.folders, (*layout.notes, note) if flat else layout.notes)


def _class_layout(root: Path, names: list[str], splits: Mapping[str, Path]) -> Layout:
    """Take the folders in `root` as classes, unless some seem to be splits without classes."""
    scored = [path.name for split, path in splits.items() if split != "train"]
    if len(names) <= len(splits) or scored:
        where = " or ".join(f"'{path}'" for path in splits.values()) or f"'{root}'"
        raise DataError(
            f"{where} must hold one folder of pictures for each class; set data.path to the folder"
            " above them, or data.labelled=false for pictures without labels."
        )
    if len(names) == 1 and list_folders(root / names[0]):
        raise DataError(
            f"'{root}' holds one folder alone, of one class; set data.path to '{root / names[0]}'"
            " if the classes are in there."
        )
    return Layout({"train": root}, ())


def _split_layout(names: list[str], splits: Mapping[str, Path]) -> Layout:
    others = [name for name in names if name.lower() not in _SPLITS]
    note = f"Left out {', '.join(f'{name}/' for name in others)} beside {splits['train'].name}/."
    return Layout(dict(splits), (note,) if others else ())
