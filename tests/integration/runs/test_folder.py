"""Run folders of processes that start together."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

from pbkd.runs.folder import new_run_folder


def make_folders(out: Path) -> list[str]:
    return [str(new_run_folder(out, "vgg")) for _ in range(20)]


def test_runs_that_start_together_all_get_a_folder(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(3) as pool:
        made = pool.map(make_folders, [tmp_path] * 3, chunksize=1)
    folders = [folder for folders in made for folder in folders]
    assert len(set(folders)) == 60
    assert str((tmp_path / "latest").resolve()) in folders
