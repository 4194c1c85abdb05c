"""Conformance tests of launchers."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbkd.core.schedule import Worker
from pbkd.errors import WorkerError
from pbkd.execution.store import STORE

if TYPE_CHECKING:
    from pbkd.protocols import Launcher

__all__ = ["check_launcher"]

_WORKERS = 2
_TCP_STORE = ("MASTER_ADDR", "MASTER_PORT")
_ENVIRONMENT = ("RANK", "WORLD_SIZE", *_TCP_STORE)


def check_launcher(launcher: Launcher) -> None:
    """Check that a launcher runs the work of every rank once and reports failures.

    Launches one worker, two workers, which must have the environment variables of
    `torch.distributed` or of `pbkd.execution.private_store`, and two workers of which one
    fails. Starts processes if the launcher does.

    Args:
        launcher: The launcher.

    Raises:
        AssertionError: If work is missing or done twice, `launch` returns too early, a variable is
            missing, or the failure of a worker is not raised as `WorkerError`.
    """
    (alone,) = _launched(launcher, 1)
    assert alone["rank"] == 0, f"the only worker has rank {alone['rank']}, not 0"
    both = _launched(launcher, _WORKERS)
    ranks = sorted(seen["rank"] for seen in both)
    assert ranks == list(range(_WORKERS)), f"{_WORKERS} workers have the ranks {ranks}"
    for seen in both:
        missing = [
            name
            for name in _ENVIRONMENT
            if not seen[name] and not (seen[STORE] and name in _TCP_STORE)
        ]
        assert not missing, (
            f"worker {seen['rank']} has no environment variable {', '.join(missing)}"
        )
        wanted = [str(seen["rank"]), str(_WORKERS)]
        assert [seen["RANK"], seen["WORLD_SIZE"]] == wanted, (
            f"worker {seen['rank']} of {_WORKERS} has RANK={seen['RANK']} and"
            f" WORLD_SIZE={seen['WORLD_SIZE']}"
        )
    _check_failure(launcher)


def _launched(launcher: Launcher, workers: int) -> list[dict[str, Any]]:
    """Return the rank and environment of every worker that was done when launch returned."""
    with tempfile.TemporaryDirectory() as name:
        launcher.launch(_witness, Path(name), [Worker(rank) for rank in range(workers)])
        seen = [json.loads(path.read_text()) for path in sorted(Path(name).glob("seen-*"))]
    assert len(seen) == workers, (
        f"launch returned after the work of {len(seen)} ranks, but there are {workers} workers"
    )
    return seen


def _check_failure(launcher: Launcher) -> None:
    with tempfile.TemporaryDirectory() as name:
        try:
            launcher.launch(_fail, Path(name), [Worker(rank) for rank in range(_WORKERS)])
        except WorkerError as error:
            assert str(error), "a WorkerError must have a message"
            return
    raise AssertionError("a worker failed, but launch raised no WorkerError")


def _witness(folder: Path, rank: int) -> None:
    time.sleep(0.1)  # a launcher that does not wait returns before this is written
    seen = {"rank": rank, **{name: os.environ.get(name) for name in (*_ENVIRONMENT, STORE)}}
    (folder / f"seen-{rank}-{time.time_ns()}").write_text(json.dumps(seen))


def _fail(folder: Path, rank: int) -> None:
    if rank == 1:
        raise RuntimeError(f"this worker fails on purpose, in {folder}")
