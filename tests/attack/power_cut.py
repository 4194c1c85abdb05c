"""A disk that loses what was not synced: it follows `os.fsync`, and restores what survives."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

Entries = dict[str, tuple[int, str]]
"""The names in a folder, each with its inode and, of a link, where it leads."""


@dataclass
class Image:
    """What is on disk at a moment: synced contents by inode, and folders as synced and as seen."""

    root: int
    files: dict[int, bytes]
    synced: dict[int, Entries]
    seen: dict[int, Entries]

    def restore(self, folder: Path, *, entries: str) -> Path:
        """Write what a power cut leaves.

        Args:
            folder: A new folder.
            entries: `synced`: names that were not synced are lost, deletions undone. `seen`: all
                names and deletions survive, but the contents of files that were not synced.
        """
        self._restore(self.root, folder, self.synced if entries == "synced" else self.seen)
        return folder

    def lost_folders(self) -> set[int]:
        """Return the folders whose names were synced, but not those that lead to them."""
        reached: set[int] = set()
        waiting = {self.root}
        while waiting:
            folder = waiting.pop()
            reached.add(folder)
            inodes = {inode for inode, _ in self.synced.get(folder, {}).values()}
            waiting |= (inodes & self.seen.keys()) - reached
        return self.synced.keys() & self.seen.keys() - reached

    def _restore(self, inode: int, folder: Path, folders: dict[int, Entries]) -> None:
        folder.mkdir()
        for name, (child, target) in folders.get(inode, {}).items():
            if target:
                (folder / name).symlink_to(target)
            elif child in self.seen or child in self.synced:
                self._restore(child, folder / name, folders)
            else:
                (folder / name).write_bytes(self.files.get(child, b""))


@dataclass
class Disk:
    """Records what is synced below a folder.

    Attributes:
        root: The folder.
        images: What a power cut would leave after each sync.
    """

    root: Path
    images: list[Image] = field(default_factory=list)
    _files: dict[int, bytes] = field(default_factory=dict)
    _folders: dict[int, Entries] = field(default_factory=dict)
    _pins: list[int] = field(default_factory=list)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Follow `os.fsync` during the context."""
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("os.fsync", self._sync)
                yield
        finally:
            for pin in self._pins:
                os.close(pin)

    def _sync(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if not path.is_relative_to(self.root):
            return
        status = os.fstat(descriptor)
        self._pins.append(os.dup(descriptor))  # or the inode's number would be used again
        if stat.S_ISDIR(status.st_mode):
            self._folders[status.st_ino] = _entries(path)
        else:
            self._files[status.st_ino] = path.read_bytes()
        seen = {Path(at).stat().st_ino: _entries(Path(at)) for at, _, _ in os.walk(self.root)}
        root = self.root.stat().st_ino
        self.images.append(Image(root, dict(self._files), dict(self._folders), seen))


def _entries(folder: Path) -> Entries:
    with os.scandir(folder) as entries:
        return {
            entry.name: (entry.inode(), str(Path(entry).readlink()) if entry.is_symlink() else "")
            for entry in entries
        }
