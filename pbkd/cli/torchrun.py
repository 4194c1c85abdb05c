"""A command that torchrun started several times: one process carries it out, the others help."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pbkd.execution.torchrun import restart_count, under_torchrun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


__all__ = ["begun_run", "carries_out"]


@contextmanager
def carries_out(run_here: Callable[[], Path | None]) -> Iterator[bool]:
    """Say whether this process is to carry out the command.

    Any other that torchrun started helps the one that does until all is done. `run_here` gives the
    folder of the run to go on with, where this machine has it.
    """
    if not under_torchrun():
        yield True
        return
    from pbkd.execution.remote.rendezvous import rendezvous

    with rendezvous(run_here()) as host:
        yield host is not None


def begun_run(out: Callable[[], Path]) -> Path | None:
    """Return the run in `out` that was begun before torchrun started its processes anew, if any."""
    if not restart_count():
        return None
    import psutil

    from pbkd.errors import RunFolderError
    from pbkd.runs.folder import is_held, newest_run, unfinished_run

    try:
        folder = unfinished_run(newest_run(out()))
    except RunFolderError:
        return None
    begun = (folder / "identity.json").stat().st_mtime
    ours = begun > psutil.Process(os.getppid()).create_time()
    return folder if ours and not is_held(folder) else None
