"""A thousand hostile files, options and run folders, the same in every run.

`python -m tests.soak.fuzz` draws more. None runs code, starts a program, writes elsewhere, hangs,
or ends in anything but a sentence.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from pbkd.core.terminal_text import terminal_text
from pbkd.plugin.registry import build_registry
from tests.paths import ROOT
from tests.soak.fuzz import KINDS, attempt, hostile, original
from tests.soak.guard import guarded
from tests.soak.hostile_runs import HostileRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.command_line import Pbkd

pytestmark = pytest.mark.filterwarnings("ignore")  # of Pillow and torch, for damaged files

EACH, RUNS = 65, 40
SLOW = dict.fromkeys(("card", "cluster", "config", "recipe"), 30)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        (Path(name) / "inside").mkdir()
        yield Path(name) / "inside"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_hostile_files_are_taken_or_refused_in_a_sentence(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    assert attempt(kind, original(kind)[0], folder) is None, "what is whole is taken"
    count = SLOW.get(kind, EACH)
    refusals = [attempt(kind, hostile(kind, Random(i)), folder) for i in range(count)]
    assert sum(text is not None for text in refusals) > count // 3, "most damage is noticed"


def test_hostile_runs_are_shown_or_refused_in_a_sentence(finished: Path, folder: Path) -> None:
    run = HostileRun(finished, folder)
    assert run.attempt(None) is None, "a whole run is shown"
    refusals = [run.attempt(Random(number)) for number in range(RUNS)]
    assert sum(text is not None for text in refusals) > RUNS // 10


@pytest.mark.parametrize(
    ("kind", "verb"),
    [
        ("config", ["run", "--print-config", "--config"]),
        ("costs", ["plan", "--workers", "2", "--costs"]),
        ("cluster", ["plan", "--costs", "costs.json", "--cluster"]),
    ],
)
def test_on_the_command_line_each_is_one_sentence(
    kind: str, verb: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, pbkd: Pbkd
) -> None:
    registry = build_registry()
    monkeypatch.setattr("pbkd.plugin.registry.build_registry", lambda *_, **__: registry)
    KINDS["costs"].make(Path("costs.json"))
    path = folder / KINDS[kind].name
    for number in range(8):
        path.write_bytes(hostile(kind, Random(number)))
        with guarded(folder):
            code, out, err = pbkd(*verb, path)
        assert (code, err.count("\n")) in ((0, 0), (2, 1)), err
        assert terminal_text(out + err) == out + err


@pytest.mark.slow
def test_the_soak_runs_as_a_script() -> None:
    script = ["-m", "tests.soak.fuzz", "--inputs", "100"]
    done = subprocess.run([sys.executable, *script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("100 inputs: ")
