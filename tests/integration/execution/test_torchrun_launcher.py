from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pbkd.config.load import load_config
from pbkd.core.events import JobStarted
from pbkd.core.files import read_json
from pbkd.models.weights import read_weights
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.runs.events import read_events
from pbkd.runs.folder import newest_run
from tests.docs.documents import MACHINES, examples
from tests.docs.shell import BIN, environment_of, run_in_shell
from tests.soak.short_run import UNSHARED

SHORT = ["threads=1", "distill.epochs=2", "distill.student_fed_epochs=1", "finetune.epochs=0",
         "meters=[]"]  # fmt: skip


@pytest.mark.slow
def test_two_processes_of_torchrun_give_the_students_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's own command, for fewer epochs."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    torchrun, slurm = examples(MACHINES)
    code = torchrun.code.replace("run -q", "run -q scheduler=lpt-scheduler").strip()
    unshared = tmp_path / "unshared.py"
    unshared.write_text(UNSHARED)
    short = replace(torchrun, code=" ".join([code, *SHORT, f"plugins=[{unshared}]"]))
    told = run_in_shell(short, tmp_path, environment_of(BIN))
    assert (tmp_path / "pbkd" / "secret").stat().st_mode & 0o777 == 0o600
    folder = newest_run(tmp_path / "runs")
    assert [Path(line).name for line in told.split()] == [folder.name]  # by one process of two
    run_in_shell(slurm, tmp_path, environment_of(BIN))
    torch.set_num_threads(1)
    alone = Path(run(load_config([*SHORT, f"out={tmp_path / 'one'}"]), build_registry()).folder)
    # Which one trains the most depends on which begins first.
    assert {e.worker for e in read_events(folder) if isinstance(e, JobStarted)} >= {0, 1}
    for phase in ("teacher-fed", "student-fed"):
        for path in (alone / phase).glob("*.safetensors"):
            theirs = read_weights(folder / phase / path.name)
            assert all(x.equal(theirs[name]) for name, x in read_weights(path).items())
    config = load_config(file=folder / "config.yaml")
    assert (config.launcher["name"], config.workers) == ("local", 2)  # it can be resumed anywhere
    plan = read_json(folder / "plan.json")
    assert len(plan["workers"]) == 2
