from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from pbkd.cli.torchrun import run_before_restart
from pbkd.runs.configuration import write_configuration
from pbkd.runs.folder import point_latest
from pbkd.runs.lock import locked

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _under_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The folder of a run that has begun."""
    folder = tmp_path / "teacher-20260101-000000"
    folder.mkdir()
    write_configuration(folder, "{}")
    (folder / "identity.json").write_text(json.dumps({}))
    return folder


@pytest.fixture
def _started_by_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "-m", "pbkd", "run"]
    monkeypatch.setattr(psutil.Process, "cmdline", lambda _process: command)


@pytest.mark.usefixtures("_started_by_torchrun")
def test_a_restart_goes_on_with_the_run_that_was_begun(begun: Path) -> None:
    """torchrun does not count a restart because a machine joined or left."""
    with locked(begun):
        assert run_before_restart(lambda: begun.parent) is None
    other = begun.with_name("teacher-20260102-000000")
    shutil.copytree(begun, other)
    (other / "lock").write_text("elsewhere 1 2.0")
    point_latest(other)
    assert run_before_restart(lambda: begun.parent) == begun


def test_a_run_of_another_machine_goes_on_after_a_counted_restart(
    begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_before_restart(lambda: begun.parent) is None
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert run_before_restart(lambda: begun.parent) == begun
    before = psutil.Process(os.getppid()).create_time() - 1
    os.utime(begun / "identity.json", (before, before))
    assert run_before_restart(lambda: begun.parent) is None


def test_a_script_under_torchrun_may_start_several_runs(begun: Path) -> None:
    with locked(begun):
        pass
    assert run_before_restart(lambda: begun.parent) is None


@pytest.mark.parametrize("parent", [0, 2**22 + 1])
def test_nothing_is_restarted_where_the_parent_cannot_be_seen(
    begun: Path, parent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getppid", lambda: parent)
    with locked(begun):
        pass
    assert run_before_restart(lambda: begun.parent) is None


def test_nothing_is_restarted_where_nothing_was_begun(tmp_path: Path) -> None:
    assert run_before_restart(lambda: tmp_path / "none") is None


@pytest.mark.usefixtures("_started_by_torchrun")
def test_without_torchrun_nothing_is_restarted(
    begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(begun):
        pass
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert run_before_restart(lambda: begun.parent) is None
