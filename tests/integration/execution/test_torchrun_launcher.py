from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pbkd.config.load import load_config
from pbkd.core.events import BlockTrained
from pbkd.core.files import read_json
from pbkd.models.weights import read_weights
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.runs.events import read_events
from pbkd.runs.folder import newest_run

SHORT = ["threads=1", "distill.epochs=2", "distill.student_fed_epochs=1", "finetune.epochs=0",
         "meters=[]"]  # fmt: skip


@pytest.mark.slow
def test_two_processes_of_torchrun_give_the_students_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    changes = [*SHORT, "scheduler=pipeline", f"out={tmp_path / 'two'}"]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "pbkd", "run", "--quiet", *changes,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pbkd" / "secret").stat().st_mode & 0o777 == 0o600
    folder = newest_run(tmp_path / "two")
    assert done.stdout.split() == [str(folder)]  # the other process prints nothing
    torch.set_num_threads(1)
    alone = Path(run(load_config([*SHORT, f"out={tmp_path / 'one'}"]), build_registry()).folder)
    trained = {e.block: e.worker for e in read_events(folder) if isinstance(e, BlockTrained)}
    assert set(trained.values()) == {0, 1}
    for phase in ("teacher-fed", "student-fed"):
        for path in (alone / phase).glob("*.safetensors"):
            theirs = read_weights(folder / phase / path.name)
            assert all(x.equal(theirs[name]) for name, x in read_weights(path).items())
    config = load_config(file=folder / "config.yaml")
    assert (config.launcher["name"], config.workers) == ("local", 2)  # it can be resumed anywhere
    plan = read_json(folder / "plan.json")
    assert len(plan["workers"]) == 2
