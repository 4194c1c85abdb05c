from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from pbkd.cli import app
from pbkd.errors import PbkdError
from pbkd.plugin.registry import Registry
from tests.paths import PUBLISHED

BROKEN = """
import pbkd

class Broken:
    name = "broken"
    def schedule(self, costs, workers):
        raise ValueError("[bold]no idea[/bold]")

@pbkd.hookimpl
def register_schedulers():
    return [Broken]
"""


def plan(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["plan", *map(str, arguments)])
    if result.exception:
        raise result.exception
    return result.output


def rows(output: str) -> list[list[str]]:
    """Return the cells of the table's rows."""
    found = [re.split(r" {2,}", line.strip()) for line in output.splitlines()]
    return [cells for cells in found if len(cells) > 2 and cells[0].isdigit()]


def test_every_scheduler_has_a_row_for_every_number_of_workers(registry: Registry) -> None:
    output = plan("--costs", PUBLISHED, "--workers", "4,1")
    names = list(registry.strategies["scheduler"])
    assert [row[:2] for row in rows(output)] == [[n, name] for n in "14" for name in names]
    lpt = next(row for row in rows(output) if row[:2] == ["4", "lpt-scheduler"])
    assert lpt[2:6] == ["recompute", "1,275 s", "3.61x", "10 %"]
    assert "the paper's procedure on one worker, a job for each block: 4,601 s" in output
    assert "fastest on 4 worker(s): pipeline" in output
    assert "\npipeline on 4 worker(s): " in output


def test_a_file_of_costs_loads_no_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pbkd.pipeline.plan.plan_run", lambda *_: pytest.fail("it loaded the teacher")
    )
    assert rows(plan("--costs", PUBLISHED, "--workers", "2"))


def test_measured_costs_are_saved_and_predict_the_same_again(tmp_path: Path) -> None:
    file = tmp_path / "costs.json"
    measured = plan("threads=1", "distill.epochs=3", "--workers", "1,2", "--save-costs", file)
    again = plan("--costs", file, "--workers", "1,2")
    assert again == measured
    assert measured.startswith("costs: digits-vgg on digits, batch 64, measured on cpu with 1")
    saved = json.loads(file.read_text())
    assert (saved["format"], saved["steps"], len(saved["blocks"])) == (1, 48, 5)
    assert all(block["train_seconds"] > 0 for block in saved["blocks"])
    assert [cells[0] for cells in rows(measured.partition("whole run, ")[2])] == ["1", "2"]
    assert saved["run"]["planning_seconds"] > 0


def test_the_chart_is_of_the_scheduler_that_was_chosen(tmp_path: Path) -> None:
    svg = tmp_path / "chart.svg"
    output = plan("--costs", PUBLISHED, "scheduler=lpt-scheduler", "--workers", "4", "--svg", svg)
    assert "\nlpt-scheduler on 4 worker(s): 1,275 s\nworker 0 |....." in output
    assert "A block1_conv1, B block1_conv2" in output
    assert ElementTree.parse(svg).getroot()[0].text == "lpt-scheduler on 4 worker(s): 1,275 s"


def test_faster_links_make_relays_faster_and_nothing_else() -> None:
    def seconds(link: str) -> dict[str, str]:
        output = plan("--costs", PUBLISHED, "--workers", "4", "--link", link)
        return {row[1]: row[3] for row in rows(output) if len(row) > 4}

    slow, fast = seconds("1e9"), seconds("1e10")
    assert {name for name in slow if slow[name] != fast[name]} == {"pipeline"}


def test_predictions_are_written_as_json(tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / "plan.json"
    plan("--costs", PUBLISHED, "--workers", "1,4", "--json", file, "--link", "12e9")
    written = json.loads(file.read_text())
    assert written["link_bytes_per_second"] == 12e9
    assert written["serial_seconds"] == pytest.approx(4600.7)
    assert len(written["predictions"]) == 2 * len(registry.strategies["scheduler"])
    found = {(row["workers"], row["scheduler"]): row for row in written["predictions"]}
    relay = found[4, "pipeline"]
    assert relay["bytes"] == relay["bytes_per_step"] * written["steps"] > 0
    assert [name for jobs in relay["jobs"] for job in jobs for name in job][-1] == "block5_conv3"
    assert found[4, "lpt-scheduler"]["seconds"] == pytest.approx(1274.76)
    assert found[1, "cached"]["seconds"] is None
    assert found[1, "cached"]["reason"]


def test_published_seconds_are_of_no_whole_run() -> None:
    assert "whole run" not in plan("--costs", PUBLISHED, "--workers", "2")


def test_a_scheduler_that_breaks_says_why_in_its_row_and_stops_no_other(tmp_path: Path) -> None:
    file = tmp_path / "my_broken.py"
    file.write_text(BROKEN)
    output = plan("--plugin", file, "--workers", "2", "threads=1")
    row = next(row for row in rows(output) if row[1] == "broken")
    assert row[2].startswith("the scheduler")
    assert "(ValueError: [bold]no idea[/bold])." in " ".join(output.split())
    assert "fastest on 2 worker(s): " in output
    assert "worker 0 |" not in output  # the chart would be of the plugin's scheduler


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "1,x"], "--workers is '1,x', but must be numbers such as 1,2,4"),
        (["--workers", ""], "--workers is '', but must be numbers"),
        (["--workers", "0"], "must be from 1 to 4096"),
        (["--workers", "1,4097"], "must be from 1 to 4096"),
        (["--setting", "VGG"], "give --costs too"),
        (["--costs", PUBLISHED, "--setting", "AlexNet"], "has no setting with 'AlexNet'"),
        (["--costs", PUBLISHED, "teacher=vgg16"], "so 'teacher' has no effect: omit it"),
        (["--costs", PUBLISHED, "--link", "0"], "--link is 0.0, but must be"),
        (["--costs", PUBLISHED, "--link", "nan"], "--link is nan, but must be"),
        (["--costs", PUBLISHED, "scheduler=gredy"], "unknown scheduler 'gredy'. Did you mean"),
        (["--costs", "nowhere.json"], "'nowhere.json' cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[object], message: str) -> None:
    with pytest.raises(PbkdError, match=re.escape(message)):
        plan(*arguments)


def test_options_of_the_chosen_scheduler_are_checked() -> None:
    output = plan("--costs", PUBLISHED, "scheduler=greedy", "scheduler.x=1", "--workers", "1")
    greedy = next(row for row in rows(output) if row[1] == "greedy")
    assert greedy[2].startswith("unknown option 'scheduler.x'")
