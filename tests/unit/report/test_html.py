from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pbkd.cli import app
from pbkd.core.events import Restarted
from pbkd.core.results import PhaseResult, RunResult
from pbkd.core.schedule import Job, Schedule
from pbkd.core.terminal_text import terminal_text
from pbkd.errors import RunFolderError
from pbkd.report.compare_page import compare_page
from pbkd.report.report_data import read_report_data
from pbkd.report.run_page import run_page
from tests.unit.report.pages import (
    PLAN,
    Page,
    block_event,
    drawn,
    finished,
    large,
    record,
    section,
    three_runs,
)
from tests.unit.report.test_card import result

HOSTILE = "</script></title><script>alert(1)</script><img src=x onerror='alert(2)'>\"&\ud800"
REFERRING = {"src", "srcset", "href", "xlink:href", "action", "data", "poster", "background"}
MOST_BYTES = 2**20


PAGES = {"run": lambda: run_page(record()), "comparison": lambda: compare_page(three_runs())}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_refers_to_nothing_outside_of_itself(name: str) -> None:
    page = Page(PAGES[name]()).root
    ids = {element.attributes["id"] for element in page.inside if "id" in element.attributes}
    for element in page.inside:
        for key in REFERRING & element.attributes.keys():
            target = element.attributes[key] or ""
            inside = target == "data:," or target.startswith("data:image/png;base64,")
            assert inside or target.removeprefix("#") in ids, target
        assert not {key for key in element.attributes if key.startswith("on") or key == "style"}
    (style,) = page.find("style")
    assert not re.search(r"url\(|@import|@font-face|image-set|https?:", style.text)
    assert "prefers-color-scheme: dark" in style.text
    assert "@media print" in style.text
    (script,) = page.find("script")
    assert not re.search(r"fetch|XMLHttpRequest|import\b|https?:|innerHTML", script.text)
    (policy,) = (e for e in page.find("meta") if "http-equiv" in e.attributes)
    assert (policy.attributes["content"] or "").startswith("default-src 'none'; img-src data:;")


def test_hostile_names_are_text_and_nothing_else() -> None:
    def hostile(whole: RunResult) -> RunResult:
        network: dict[str, Any] = {"name": HOSTILE}
        return replace(
            whole,
            command=HOSTILE,
            teacher=replace(whole.teacher, **network),
            student=replace(whole.student, **network),
            accuracies={HOSTILE: 0.5},
            blocks=tuple(
                replace(
                    b, name=HOSTILE, reason=HOSTILE, builder={"name": HOSTILE, HOSTILE: HOSTILE}
                )
                for b in whole.blocks
            ),
            phases=(PhaseResult(HOSTILE, 1.0, 1.0, {HOSTILE: 1.0}, HOSTILE),),
            notes=(HOSTILE,),
            environment={HOSTILE: HOSTILE},
        )

    run = finished(hostile(result()), HOSTILE)
    table = replace(PLAN.table, costs=(replace(PLAN.table.costs[0], name=HOSTILE),))
    schedule = Schedule(((Job((HOSTILE,)),),))
    plan = replace(
        PLAN, scheduler=HOSTILE, why=HOSTILE, table=replace(table, about=HOSTILE), schedule=schedule
    )
    events = [block_event(HOSTILE, 0, 5.0, 1.0), Restarted(reason=HOSTILE)]
    attacked = record(run, plan=plan, events=events, config=HOSTILE)
    for text in (run_page(attacked), compare_page([run, run])):
        page = Page(text).root
        assert len(page.find("script")) == 1
        assert page.find("img") == []
        assert not [e for e in page.inside if any(key.startswith("on") for key in e.attributes)]
        assert text.count(HOSTILE) == 0
        assert text.count("&lt;/script&gt;&lt;/title&gt;") > 5
        assert terminal_text(HOSTILE) in page.text


def test_a_page_of_27_blocks_and_4_workers_is_below_a_megabyte() -> None:
    text = run_page(large())
    assert len(text.encode()) < MOST_BYTES
    chain = section(text, "chain")
    assert len(chain.find("article")) == len(chain.find("svg", "curves")) == 27
    lines = [line.attributes["points"] or "" for line in chain.find("polyline")]
    assert {len(line.split()) for line in lines} == {201}  # every 15th of 3,000, and the last
    planned, actual = drawn(text).values()
    assert len(planned) == 54
    assert len(actual) == 27


def pbkd(*arguments: object) -> str:
    ended = CliRunner().invoke(app, list(map(str, arguments)))
    if ended.exception:
        raise ended.exception
    return ended.output


def test_a_finished_runs_folder_holds_all_that_its_page_shows(
    finished: Path, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "run.html"
    assert pbkd("report", finished, "--out", path) == f"written: {path}\n"
    text = path.read_text()
    course = drawn(text)
    assert [title.split(":")[0] for title in course] == ["Planned", "Actual"]
    for bars in course.values():
        assert bars[-1][2] > 0
        assert bars[-1][1] + bars[-1][2] <= 96 + 840.01
    whole = Page(text).root.text
    for said in ("ot recorded", "Not predicted"):
        assert said not in whole
    known = read_report_data(finished)
    assert known.plan is not None
    assert [row.find("td")[0].text for row in section(text, "speed").find("tr")[1:]][-1] == (
        "measured; its ratio predicted"
    )
    assert len(section(text, "chain").find("article")) == len(known.run.result.blocks)
    assert len(section(text, "stages").find("svg")) == 2
    assert known.changes is not None
    result = known.run.result
    assert known.changes.images == 360
    gained, lost = known.changes.gained, known.changes.lost
    assert gained is not None
    assert lost is not None
    assert result.teacher.accuracy is not None
    assert result.student.accuracy == pytest.approx(result.teacher.accuracy + (gained - lost) / 360)
    assert len(section(text, "changes").find("img")) == min(known.changes.changed, 12)
    before, after = known.run.result.teacher.weight_bytes, known.run.result.student.weight_bytes
    file = (finished / "student" / "model.safetensors").stat().st_size
    assert before is not None
    assert after is not None
    assert after < before
    assert after == pytest.approx(file, rel=0.1)  # the file has names and shapes as well

    both = tmp_path / "both.html"
    pbkd("report", finished, finished, "--out", both)
    assert len(section(both.read_text(), "table").find("tr")) == 3


def test_a_folder_without_a_finished_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no finished run"):
        pbkd("report", tmp_path)
