"""Commands under torchrun: one process is the coordinator, the others are its workers."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pbkd.execution.torchrun import restart_count, under_torchrun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


__all__ = ["coordinator_role", "run_before_restart"]


@contextmanager
def coordinator_role(find_run: Callable[[], Path | None]) -> Iterator[bool]:
    """Determine whether this process coordinates the command.

    Without torchrun it does. Under torchrun one process does, and the others work for it before
    this yields.

    Args:
        find_run: Returns the folder of the run to resume, if it is on this machine.

    Yields:
        True in the coordinator, False in other processes, which have nothing left to do.
    """
    if not under_torchrun():
        yield True
        return
    from pbkd.execution.remote.rendezvous import rendezvous

    with rendezvous(find_run()) as host:
        yield host is not None


def run_before_restart(out: Callable[[], Path]) -> Path | None:
    """Return the run in `out` that this torchrun began before it restarted its processes.

    torchrun counts no restart because machines come and go, so that a run is recognised by the
    process that began it. Where machines have `out` in common, and another began the run, it is the
    newest one since this torchrun was started, if that has counted a restart.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    from pbkd.errors import RunFolderError
    from pbkd.runs.folder import newest_run, unfinished_run
    from pbkd.runs.lock import is_held

    runs = out()
    try:
        here = _begun_here(runs)
        folder = unfinished_run(here or newest_run(runs))
    except RunFolderError:
        return None
    ours = here or (restart_count() and _has_begun_since(folder))
    return folder if ours and not is_held(folder) else None


def _begun_here(out: Path) -> Path | None:
    """Return the run in `out` whose process torchrun started on this machine, as it did this one.

    A script that torchrun starts may itself start several runs, of which none is meant.
    """
    import psutil

    from pbkd.runs.lock import has_same_parent

    try:
        words = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return None
    if not any("torchrun" in word or "torch.distributed" in word for word in words):
        return None
    folders = (path.parent for path in out.glob("*/identity.json"))
    return next(filter(has_same_parent, folders), None)


def _has_begun_since(folder: Path) -> bool:
    """Return whether a run was begun since this process's parent was started."""
    import psutil

    started: float = psutil.Process(os.getppid()).create_time()
    return (folder / "identity.json").stat().st_mtime > started
