from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.execution.remote.working_copy import work_in_copy

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.execution.remote.folder_sync import FolderDelta

CONTENTS: FolderDelta = {"config.yaml": b"seed: 0"}


def write(folder: Path, rank: int) -> None:
    (folder / f"rank{rank}").write_bytes((folder / "config.yaml").read_bytes())


def test_changes_of_the_copy_are_sent() -> None:
    sent: list[FolderDelta] = []
    work_in_copy(write, 3, CONTENTS, sent.append)
    assert sent == [{"rank3": b"seed: 0"}]
