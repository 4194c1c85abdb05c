"""Launchers: every rank does its work once, with torch's environment, and none fails in silence."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbkd.core.schedule import Worker
from pbkd.errors import WorkerError

if TYPE_CHECKING:
    from pbkd.protocols import Launcher

__all__ = ["check_launcher"]

_WORKERS = 2
_ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def check_launcher(launcher: Launcher) -> None:
    """One worker, and two with torch's environment, do their work once; one that fails is told.

    Starts processes if the launcher does, so it takes as many seconds as they take to start.
    """
    (alone,) = _launched(launcher, 1)
    assert alone["rank"] == 0, f"the one worker is given rank {alone['rank']}"
    both = _launched(launcher, _WORKERS)
    ranks = sorted(seen["rank"] for seen in both)
    assert ranks == list(range(_WORKERS)), f"with {_WORKERS} workers, work is done for {ranks}"
    for seen in both:
        missing = [name for name in _ENVIRONMENT if not seen[name]]
        assert not missing, f"worker {seen['rank']} finds no {', '.join(missing)}"
        wanted = [str(seen["rank"]), str(_WORKERS)]
        assert [seen["RANK"], seen["WORLD_SIZE"]] == wanted, (
            f"worker {seen['rank']} of {_WORKERS} finds RANK={seen['RANK']} and"
            f" WORLD_SIZE={seen['WORLD_SIZE']}"
        )
    _check_failure(launcher)


def _launched(launcher: Launcher, workers: int) -> list[dict[str, Any]]:
    """Return what each piece of work saw, of those that were done when launch returned."""
    with tempfile.TemporaryDirectory() as name:
        launcher.launch(_witness, Path(name), [Worker(rank) for rank in range(workers)])
        seen = [json.loads(path.read_text()) for path in sorted(Path(name).glob("seen-*"))]
    assert len(seen) == workers, (
        f"launch returned after {len(seen)} pieces of work, but there are {workers} workers"
    )
    return seen


def _check_failure(launcher: Launcher) -> None:
    with tempfile.TemporaryDirectory() as name:
        try:
            launcher.launch(_fail, Path(name), [Worker(rank) for rank in range(_WORKERS)])
        except WorkerError as error:
            assert str(error), "a WorkerError must say what happened"
            return
    raise AssertionError("a worker failed, and launch returned as if nothing had happened")


def _witness(folder: Path, rank: int) -> None:
    time.sleep(0.1)  # a launcher that does not wait returns before this is written
    seen = {"rank": rank, **{name: os.environ.get(name) for name in _ENVIRONMENT}}
    (folder / f"seen-{rank}-{time.time_ns()}").write_text(json.dumps(seen))


def _fail(folder: Path, rank: int) -> None:
    if rank == 1:
        raise RuntimeError(f"this worker fails on purpose, in {folder}")
