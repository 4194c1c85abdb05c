"""The picture files below a folder: links are followed, what is hidden is left out."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["PictureFiles", "list_folders", "list_pictures"]

_SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp",  # torchvision's
    ".apng", ".avif", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".pbm", ".pnm", ".tga",
))  # fmt: skip
_MOST_REPETITIONS, _MOST_LEVELS = 1000, 100
_REPEATED = (-1, -1)  # counts the folders that links repeat; no folder has this device
_SYSTEM_FOLDERS = ("@eadir", "#recycle", "$recycle.bin", "__macosx", "lost+found")


@dataclass(frozen=True)
class PictureFiles:
    """The picture files below a folder.

    Attributes:
        files: The path of each, and a number that is the same for links to the same file.
        left_out: How many other files have each suffix.
    """

    files: list[tuple[str, int]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def list_folders(folder: Path | str) -> list[str]:
    """List the names of the folders in a folder, sorted; hidden ones are left out.

    Raises:
        DataError: It cannot be read.
    """
    return sorted(entry.name for entry in _visible(folder) if _is_folder(entry))


def list_pictures(folder: Path | str, *, below: bool = True) -> PictureFiles:
    """List the picture files of a folder, ordered by folder and name.

    Args:
        folder: The folder. Links in it are followed, but not back to a folder that holds the link.
        below: Whether to list the folders in it too.

    Raises:
        DataError: A folder cannot be read.
    """
    found = PictureFiles()
    _collect(str(folder), (), found, Counter(), below=below)
    found.files.sort(key=lambda file: os.path.split(file[0]))
    return found


def _collect(
    folder: str,
    above: tuple[tuple[int, int], ...],
    found: PictureFiles,
    visits: Counter[tuple[int, int]],
    *,
    below: bool,
) -> None:
    entries = _visible(folder)
    status = Path(folder).stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    visits[_REPEATED] += here in visits
    visits[here] += 1
    if visits[_REPEATED] > _MOST_REPETITIONS or len(above) == _MOST_LEVELS:
        raise DataError(
            f"'{folder}' is below {_MOST_LEVELS} folders, or one of {_MOST_REPETITIONS:,} that"
            " links repeat: remove the links of folders to each other."
        )
    for entry in entries:
        if _is_folder(entry):
            if below:
                _collect(entry.path, (*above, here), found, visits, below=True)
        elif (suffix := Path(entry.name).suffix.lower()) not in _SUFFIXES:
            found.left_out[suffix] += 1
        elif entry.is_symlink() or entry.is_file():
            found.files.append((entry.path, _identity(entry, status.st_dev)))


def _visible(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            listed = list(entries)
    except OSError as error:
        raise DataError(f"the folder '{folder}' cannot be read: {error.strerror}.") from error
    return (
        e for e in listed if not e.name.startswith(".") and e.name.lower() not in _SYSTEM_FOLDERS
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(entry: os.DirEntry[str], device: int) -> int:
    """Number a file by device and inode, or, if that fails, by its path."""
    inode = entry.inode()
    if entry.is_symlink():
        try:
            device, inode = entry.stat().st_dev, entry.stat().st_ino
        except OSError:  # a broken link, which the decoder will name
            inode = 0
    return device << 64 | inode if inode else hash(entry.path)
