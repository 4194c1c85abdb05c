from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pbkd_torchrun import TorchrunLauncher, register_launchers

from pbkd import Worker
from pbkd.errors import WorkerError
from pbkd.execution import WorkerRequest

if TYPE_CHECKING:
    from pathlib import Path


def test_it_needs_processes_of_torchrun(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="processes that torchrun started"):
        TorchrunLauncher().workers(WorkerRequest(configuration=""))
    with pytest.raises(WorkerError, match="say launcher=local"):
        TorchrunLauncher().launch(lambda _folder, _rank: None, tmp_path, [Worker(0), Worker(1)])


def test_it_is_registered() -> None:
    assert [launcher.name for launcher in register_launchers()] == ["torchrun"]
