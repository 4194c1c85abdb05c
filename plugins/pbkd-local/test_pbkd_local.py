from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pbkd_local import LocalLauncher, _message, register_launchers
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from pbkd import Worker
from pbkd.testing import check_launcher

if TYPE_CHECKING:
    from pathlib import Path


def test_it_keeps_the_contract() -> None:
    check_launcher(LocalLauncher())


def test_a_single_worker_runs_in_this_process(tmp_path: Path) -> None:
    calls = []
    LocalLauncher().launch(
        lambda folder, rank: calls.append((folder, rank, os.getpid())), tmp_path, [Worker(0)]
    )
    assert calls == [(tmp_path, 0, os.getpid())]
    assert list(tmp_path.iterdir()) == []


def test_a_worker_without_an_error_file_is_explained_by_its_log(tmp_path: Path) -> None:
    log = tmp_path / "run_a" / "attempt_0" / "1" / "stderr.log"
    log.parent.mkdir(parents=True)
    failure = ProcessFailure(1, pid=1, exitcode=1, error_file="<N/A>")
    default = "exit code 1 before its work began, with the reason above"
    assert _message(failure, tmp_path) == default
    log.write_text("Traceback (most recent call last):\nSystemExit: no room\n\n")
    assert _message(failure, tmp_path) == "SystemExit: no room"
    killed = ProcessFailure(1, pid=1, exitcode=-9, error_file="<N/A>")
    assert "SIGKILL" in _message(killed, tmp_path)


def test_it_is_registered() -> None:
    assert [launcher.name for launcher in register_launchers()] == ["local"]
