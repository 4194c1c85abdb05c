"""A record, in the user's own state folder, of the code that the user's own runs were given.

A run folder may come from somebody else, so that nothing in it says whose code it names. The record
lies outside of it: one file per run, `$XDG_STATE_HOME/pbkd/runs/DIGEST.json`, by default below
`~/.local/state`. A folder that was copied, moved or downloaded has none.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pbkd.core.files import read_json, write_json
from pbkd.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pbkd.plugin.user_code import Code


__all__ = ["recall_code", "remember_code"]


def remember_code(folder: Path, code: Iterable[Code]) -> None:
    """Record the code of a run of this user, if any; do nothing where no state can be kept.

    Args:
        folder: The run folder.
        code: All code that the run's configuration names.
    """
    recorded = [list(item) for item in code]
    if not recorded:
        return
    with suppress(OSError, RuntimeError, RunFolderError):
        path = _record_of(folder)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(path, {"folder": str(folder.resolve()), "code": recorded})


def recall_code(folder: Path) -> set[Code]:
    """Return the code that `remember_code` recorded for a run folder; nothing if there is none."""
    try:
        path = _record_of(folder)
        if not _is_ours(path.parent) or not _is_ours(path):
            return set()
        record = read_json(path)
        if record["folder"] != str(folder.resolve()):
            return set()
        return {tuple(map(str, item)) for item in record["code"]}
    except (OSError, RuntimeError, RunFolderError, TypeError, KeyError):
        return set()


def _record_of(folder: Path) -> Path:
    """Return the path of a run's record; a `RuntimeError` says that the user has no home."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()
    return Path(home) / "pbkd" / "runs" / f"{digest[:32]}.json"


def _is_ours(path: Path) -> bool:
    """Whether nobody else can have written a file or folder."""
    found = path.lstat()
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
