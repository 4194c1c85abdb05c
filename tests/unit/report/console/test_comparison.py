from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import replace

import pytest

from pbkd.report.compare import compare_rows
from pbkd.report.console.comparison import show_comparison
from pbkd.runs.finished import Finished
from tests.unit.report.pages import finished, three_runs
from tests.unit.report.test_card import result
from tests.unit.report.test_compare import SCRATCH

COMMAND = (
    "pbkd run teacher=torchvision:resnet18 'teacher.mean=[0.485, 0.456, 0.406]'"
    " data=imagefolder data.path=flowers data.size=64 distill.epochs=2 finetune.epochs=2"
)
NAMES = ("digits-vgg-20261124-225051", "a", "resnet18-" + 5 * "long-" + "20261124-225051")


Show = Callable[[list[Finished], int], list[str]]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Show:
    """Prints the comparison of runs as if in a width, and returns the lines."""

    def show(runs: list[Finished], width: int) -> list[str]:
        monkeypatch.setattr("pbkd.report.console.comparison._WIDTH", width)
        show_comparison(runs)
        return capsys.readouterr().out.splitlines()

    return show


def many() -> list[Finished]:
    """Runs with every column that there is, of which one has a very long name."""
    whole = result(command=COMMAND)
    baselines = {m: replace(SCRATCH, method=m) for m in ("scratch", "distillation")}
    runs = [finished(whole, name, baselines=baselines) for name in NAMES]
    return [*runs, *three_runs()]


@pytest.mark.parametrize("width", [100, 80, 60])
def test_no_line_is_wider_than_the_terminal_and_no_figure_is_lost(shown: Show, width: int) -> None:
    lines = shown(many(), width)
    assert max(map(len, lines)) <= width
    heads, rows = compare_rows(many())
    text = "\n".join(lines)
    for cell in (*heads, *rows[0]):
        assert cell in text


def test_every_part_begins_with_the_runs(shown: Show) -> None:
    lines = shown(three_runs(), 60)
    parts = [part.splitlines() for part in "\n".join(lines).split("\n\n")]
    tables = [part for part in parts if part[0].startswith("run")]
    assert len(tables) > 3
    for head, *rows in tables:
        assert re.match("run  ", head)
        assert [row[0] for row in rows] == ["a", "b", "c"]


def test_a_folded_command_is_the_same_to_a_shell(shown: Show) -> None:
    lines = shown([finished(result(command=COMMAND))], 70)
    folded = lines[lines.index("a:") + 1 :]
    assert len(folded) > 2
    joined = "\n".join(folded).replace("\\\n", "")
    assert shlex.split(joined) == shlex.split(COMMAND)
