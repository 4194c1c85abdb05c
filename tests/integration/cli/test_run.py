"""`pbkd run` and `pbkd status` on whole runs."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from tests.command_line import ONE_BLOCK, PLUGIN_HEAD, Pbkd, mistake


def test_a_run_that_is_stopped_can_be_asked_about_and_goes_on(
    pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: object) -> None:
        signal.raise_signal(signal.SIGINT)

    quick = ["threads=1", "distill.epochs=1", "distill.student_fed_epochs=0", "finetune.epochs=1"]
    with monkeypatch.context() as patch:
        patch.setattr("pbkd.pipeline.run.select", interrupted)
        stopped = pbkd("run", *quick, "meters=[]")
    (folder,) = (path for path in Path("runs").iterdir() if not path.is_symlink())
    assert stopped.code == 130
    assert stopped.err == f"pbkd: stopped; go on with `pbkd run --resume {folder}`.\n"
    told = pbkd("status").out
    assert "teacher-fed: 5 of 5 done" in told
    assert "fine-tuning: not begun, 1 epochs" in told
    assert f"stopped; go on with `pbkd run --resume {folder}`" in told
    assert "seed" in mistake(pbkd("run", "--resume", "seed=3"))
    assert pbkd("run", "--resume", "--quiet").code == 0
    assert "finished; README.md there is the model card" in pbkd("status", str(folder)).out
    again = pbkd("run", "--resume", str(folder))
    assert again.out == f"the run in {folder} is finished; README.md there is the model card\n"


IDLE = (
    PLUGIN_HEAD
    + """
class Idle:
    name = "idle"

    def launch(self, work, folder, workers):
        pass


@hookimpl
def register_launchers():
    return [Idle]
"""
)


def test_a_launcher_that_trains_nothing_is_found_out(pbkd: Pbkd) -> None:
    Path("idle.py").write_text(IDLE)
    told = mistake(pbkd("run", "--quiet", "--plugin", "idle.py", *ONE_BLOCK))
    assert told == (
        "the launcher 'idle' of the plugin 'idle.py' ended, but nobody trained conv3_2."
    )


def test_a_launcher_that_raises_is_told_and_the_run_can_go_on(pbkd: Pbkd) -> None:
    body = IDLE.replace("pass", "raise KeyError('no\\ncluster')")
    assert body != IDLE
    Path("idle.py").write_text(body)
    told = mistake(pbkd("run", "--quiet", "--plugin", "idle.py", *ONE_BLOCK))
    found = re.fullmatch(
        r"the launcher 'idle' of the plugin 'idle.py' failed in launch \(KeyError: .*cluster.*\):"
        r" go on with another one, by `pbkd (run --resume \S+ launcher=local)`\.",
        told,
    )
    assert found, told
    ended = pbkd(*found[1].split(), "--quiet")
    assert (ended.code, ended.err) == (0, "")
    assert (Path(found[1].split()[2]) / "result.json").is_file()


def test_a_quiet_run_prints_its_folder_alone(pbkd: Pbkd) -> None:
    ended = pbkd("run", "--quiet", *ONE_BLOCK, "out=deep/runs")
    assert (ended.code, ended.err) == (0, "")
    folder = Path(ended.out.rstrip("\n"))
    assert ended.out == f"{folder}\n"
    assert folder.resolve() == Path("deep/runs/latest").resolve()
    assert json.loads((folder / "result.json").read_text())["folder"] == str(folder)


def test_a_run_tells_what_it_does_and_what_came_of_it(pbkd: Pbkd) -> None:
    ended = pbkd("run", *ONE_BLOCK)
    assert (ended.code, ended.err) == (0, "")
    (folder,) = (path for path in Path("runs").iterdir() if path.name != "latest")
    card = (folder / "README.md").read_text()
    lines = ended.out.splitlines()
    assert lines[0].startswith("teacher digits-vgg: 9")
    assert re.search(r" % of 360 test images \(95 %: 9[\d.]+ to [\d.]+\); cut by vgg$", lines[0])
    assert f"run folder: {folder}" in lines
    assert any(line.startswith("conv3_2: trained teacher-fed by worker 0, loss ") for line in lines)
    alone = r"conv3_2: alone it (loses|gains) [\d.]+ points on \d+ validation images \(95 %: "
    assert any(re.match(alone, line) for line in lines)
    assert any(line.startswith("fine-tuning, epoch 1: loss ") for line in lines)
    verdict = card.splitlines()[2]
    assert verdict in lines
    assert lines[-1] == f"everything is in {folder}; README.md there is the model card"
