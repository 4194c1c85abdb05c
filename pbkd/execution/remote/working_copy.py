"""Work in a private copy of the run folder, whose changes are sent back as they appear."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pbkd.core.process import background_thread
from pbkd.execution.remote.folder_sync import apply_delta, folder_deltas, take_snapshot

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from pbkd.execution.remote.folder_sync import FolderDelta


__all__ = ["work_in_copy"]


def work_in_copy(
    work: Callable[[Path, int], None],
    rank: int,
    contents: FolderDelta,
    send: Callable[[FolderDelta], None],
) -> None:
    """Run a worker in a temporary copy of the run folder.

    Args:
        work: The function that `launch` receives.
        rank: The worker's rank.
        contents: The run folder, from `pack_folder`.
        send: Called with each change of the copy, in a background thread.
    """
    with tempfile.TemporaryDirectory(prefix="pbkd-") as name:
        folder = Path(name)
        apply_delta(contents, folder)
        before = take_snapshot(folder)

        def send_changes(stop: threading.Event) -> None:
            for delta in folder_deltas(folder, before, stop):
                send(delta)

        with background_thread(send_changes, "pbkd-folder-sync"):
            work(folder, rank)
