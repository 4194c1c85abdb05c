"""The check for GPUs, on a machine without one."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.check import Check, markdown
from tests.gpu.installation import missing_packages, paths, write_entry_points
from tests.gpu.parts import PARTS
from tests.paths import ROOT

_PROGRAM = """
import json, os, sys, time
def say(**entry):
    print(json.dumps(entry), flush=True)
say(facts={"device": "cpu", "torch": "2", "machine": "m"})
for name in sys.argv[1:]:
    say(begin=name)
    if name == "waiting":
        os._exit(1)
    if name == "quickstart":
        time.sleep(60)
    say(end=name, state="passed", line="a | b", seconds=1.0)
"""


def test_a_part_that_hangs_or_ends_its_process_stops_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.gpu.check._SLOWER", 1 / 75)
    said: list[str] = []
    names = ["waiting", "quickstart", "speed-vgg16", "half"]
    check = Check(names, [sys.executable, "-c", _PROGRAM], io.BytesIO(), say=said.append)
    monkeypatch.setattr("tests.gpu.check._SECONDS", 75 * 60.0)
    with Path(os.devnull).open("wb") as check.log:
        check.run()
    assert {name: (e["state"], e["line"]) for name, e in check.found.items()} == {
        "waiting": ("failed", "its process ended"),
        "quickstart": ("failed", "it was stopped after 1 s"),
        "speed-vgg16": ("passed", "a | b"),
        "half": ("passed", "a | b"),
    }
    assert said[0] == "no GPU, torch 2, m"
    table = markdown(check.facts, check.found).splitlines()
    assert table[-1].startswith("| half | float16 with a scaler")
    assert table[-1].endswith("| passed | a / b |")


def test_the_entry_points_are_those_of_an_installation(tmp_path: Path) -> None:
    write_entry_points(tmp_path)
    (written,) = tmp_path.glob("*/entry_points.txt")
    known = {f"{each.parent.name}" for each in ROOT.glob("plugins/pbkd-*/pyproject.toml")}
    lines = written.read_text().splitlines()
    assert lines[:2] == ["[pbkd]", "zoo = pbkd_zoo"]
    assert {"pbkd-" + line.split(" = ")[0] for line in lines[2:]} <= known
    assert "local = pbkd_local" in lines
    assert not any("trackio" in line for line in lines), "it is loaded on demand"
    assert len(paths(tmp_path)) == 3 + len(known)
    assert missing_packages() == []


def test_the_page_describes_every_part() -> None:
    page = (ROOT / "docs/gpu.md").read_text()
    described = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert described[: len(PARTS)] == [part.name for part in PARTS]


@pytest.mark.slow
def test_without_a_gpu_a_part_that_needs_none_passes_and_others_are_skipped(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHON": sys.executable, "OUT": str(tmp_path / "out")}
    command = ["sh", str(ROOT / "tests/gpu/check.sh"), "speed-vgg16", "energy", "waiting"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    states = {name: each["state"] for name, each in summary["parts"].items()}
    assert states == {"waiting": "skipped", "speed-vgg16": "passed", "energy": "skipped"}
    assert "speed-vgg16" in (tmp_path / "out/summary.md").read_text()
