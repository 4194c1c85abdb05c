from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pbkd.errors import RunFolderError
from pbkd.runs.folder import new_run_folder, newest_run, point_latest


def test_the_newest_run_is_found(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="there is no run in"):
        newest_run(tmp_path)
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("")
    shutil.copystat(tmp_path / "a" / "config.yaml", tmp_path / "b" / "config.yaml")
    (tmp_path / "a" / "config.yaml").write_text("newer")
    assert newest_run(tmp_path).name == "a"


def test_a_run_that_is_resumed_by_the_link_stays_the_newest(tmp_path: Path) -> None:
    folder = new_run_folder(tmp_path, "a")
    (folder / "config.yaml").touch()
    point_latest(tmp_path / "latest")
    assert (tmp_path / "latest").resolve() == newest_run(tmp_path).resolve() == folder.resolve()
