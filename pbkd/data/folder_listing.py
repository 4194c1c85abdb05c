"""The pictures of each split of an image folder, with their classes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pbkd.data.picture_files import list_folders, list_pictures
from pbkd.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pbkd.data.picture_files import PictureFiles


__all__ = ["Listing", "list_splits"]


@dataclass(frozen=True)
class Listing:
    """The pictures of a split.

    Attributes:
        files: The path of each, and a number that is the same for links to the same file.
        labels: Their classes; -1 without labels.
        classes: Names of the classes, sorted; empty without labels.
        notes: Remarks on what was left out, a sentence each.
    """

    files: Sequence[tuple[str, int]]
    labels: Sequence[int]
    classes: Sequence[str]
    notes: tuple[str, ...]


def list_splits(folders: Mapping[str, Path], *, labelled: bool) -> dict[str, Listing]:
    """List the pictures of each split.

    Labels are the positions of the class folders of `train` in alphabetical order, as torchvision's
    `ImageFolder` counts them.

    Args:
        folders: The folder of `train`, and of `val` and `test` if they exist. If one is
            missing, so that it will be cut off `train`, pictures that links repeat are listed once.
        labelled: Whether the folders in them are classes.

    Raises:
        DataError: A split or a class of `train` has no pictures, or another split has a class
            that `train` lacks.
    """
    train = _list_classes(folders["train"]) if labelled else _list_unlabelled(folders["train"])
    if len(folders) < 3:
        train = _without_repetitions(train)
    listings = {"train": train}
    known = {identity for _, identity in train.files}
    for name in folders.keys() - listings:
        folder = folders[name]
        found = _list_classes(folder, train.classes) if labelled else _list_unlabelled(folder)
        shared = sum(identity in known for _, identity in found.files)
        note = f"{shared} picture(s) in '{folder}' are links to training pictures."
        listings[name] = replace(found, notes=(*found.notes, note)) if shared else found
    return {name: listings[name] for name in folders}


def _list_classes(folder: Path, known: Sequence[str] | None = None) -> Listing:
    """List the pictures in the class folders of a split; `known` are the classes of `train`."""
    found = {name: list_pictures(folder / name) for name in list_folders(folder)}
    filled = [name for name, pictures in found.items() if pictures.files]
    classes = list(found) if known is None else known
    missing = [name for name in classes if name not in filled]
    if known is None and missing:
        raise DataError(
            f"the class folder '{folder / missing[0]}' holds no pictures; add some, or remove it if"
            " it is no class."
        )
    for name in filled:
        if name not in classes:
            raise DataError(
                f"'{folder}' has the class folder {name}/, which the training pictures lack; add"
                f" it there, or remove it here.{did_you_mean(name, classes)}"
            )
    labels = {name: label for label, name in enumerate(classes)}
    notes = (
        *_missing(folder, missing, len(classes)),
        *_loose(folder),
        *_left_out(folder, found.values()),
    )
    return Listing(
        files=_some([file for name in filled for file in found[name].files], folder),
        labels=[labels[name] for name in filled for _ in found[name].files],
        classes=classes,
        notes=notes,
    )


def _list_unlabelled(folder: Path) -> Listing:
    found = list_pictures(folder)
    files = _some(sorted(found.files), folder)
    return Listing(files, [-1] * len(files), (), tuple(_left_out(folder, [found])))


def _some(files: list[tuple[str, int]], folder: Path) -> list[tuple[str, int]]:
    if not files:
        raise DataError(f"there are no pictures below '{folder}'; set data.path to their folder.")
    return files


def _missing(folder: Path, classes: Sequence[str], count: int) -> list[str]:
    """Note the classes that have no pictures, if any."""
    names = ", ".join(classes[:3]) + (", …" if len(classes) > 3 else "")
    lacking = f"'{folder}' has no pictures of {len(classes)} of the {count} classes: {names}."
    return [lacking] if classes else []


def _loose(folder: Path) -> list[str]:
    """Note the pictures that are in no class folder, if any."""
    count = len(list_pictures(folder, below=False).files)
    return [f"Left out {count} picture(s) in '{folder}' that are in no class folder."] * (count > 0)


def _left_out(folder: Path, found: Iterable[PictureFiles]) -> list[str]:
    """Note the files that are no pictures by their names, if any."""
    suffixes = sum((pictures.left_out for pictures in found), Counter[str]())
    kinds = ", ".join(suffix or "none" for suffix in sorted(suffixes)[:5])
    more = ", …" if len(suffixes) > 5 else ""
    count = suffixes.total()
    left_out = f"Left out {count} file(s) below '{folder}' that are no pictures by their suffixes"
    return [f"{left_out}: {kinds}{more}."] * (count > 0)


def _without_repetitions(listing: Listing) -> Listing:
    """List every file once, so that none of its links is held out while another is trained on."""
    first = {identity: row for row, (_, identity) in reversed(list(enumerate(listing.files)))}
    rows = sorted(first.values())
    repeated = len(listing.files) - len(rows)
    if not repeated:
        return listing
    return replace(
        listing,
        files=[listing.files[row] for row in rows],
        labels=[listing.labels[row] for row in rows],
        notes=(*listing.notes, f"Left out {repeated} picture(s) that are links to others."),
    )
