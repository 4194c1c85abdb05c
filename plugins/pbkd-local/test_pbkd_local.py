from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pbkd_local import LocalLauncher, register_launchers

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


def test_it_is_registered() -> None:
    assert [launcher.name for launcher in register_launchers()] == ["local"]
