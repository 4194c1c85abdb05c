"""The host's request that workers end after an epoch, so that their blocks are split anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.files import write_file

if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["is_split_requested", "request_split", "withdraw_split"]

_NAME = "split-anew"


def request_split(folder: Path) -> None:
    """Ask the workers that see this run folder to end after their current epoch."""
    write_file(folder / _NAME, b"")


def is_split_requested(folder: Path) -> bool:
    """Return whether the host has asked the workers to end after their current epoch."""
    return (folder / _NAME).exists()


def withdraw_split(folder: Path) -> None:
    """Withdraw the request, if there is one."""
    (folder / _NAME).unlink(missing_ok=True)
