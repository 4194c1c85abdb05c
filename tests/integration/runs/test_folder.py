"""Run folders of processes that start together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_runs_that_start_together_all_get_a_folder(tmp_path: Path) -> None:
    code = "import sys, pathlib, pbkd.runs.folder as j\nfor _ in range(20):"
    code += " print(j.new_run_folder(pathlib.Path(sys.argv[1]), 'vgg'))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    folders = [line for run in runs for line in run.communicate()[0].splitlines()]
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert len(set(folders)) == 60
    assert str((tmp_path / "latest").resolve()) in folders
