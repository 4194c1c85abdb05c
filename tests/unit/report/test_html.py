from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pbkd.cli import app
from pbkd.core.events import Event, Restarted, WorkerLost
from pbkd.core.results import PhaseResult, RunResult
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.errors import RunFolderError
from pbkd.report.compare_page import compare_page
from pbkd.report.report_data import read_report_data
from pbkd.report.run_page import run_page
from pbkd.runs.disagreements import Answer, Changes
from pbkd.runs.finished import Finished
from tests.unit.report.pages import (
    PLAN,
    Page,
    block_event,
    finished,
    large,
    record,
    section,
)
from tests.unit.report.test_card import BLOCK, PHASES, STUDENT, TEACHER, UNTRAINED, result

HOSTILE = "</script></title><script>alert(1)</script><img src=x onerror='alert(2)'>\"&\ud800"
REFERRING = {"src", "srcset", "href", "xlink:href", "action", "data", "poster", "background"}
MOST_BYTES = 2**20


def three_runs() -> list[Finished]:
    """Return two runs with all figures, and one without labels or joules."""
    cheap = replace(STUDENT, accuracy=0.9, macs=1_000_000)
    measured = tuple(replace(p, joules={"gpu0": 2.5}, joules_reason=None) for p in PHASES)
    unlabelled = result(
        accuracy_reason="no labels",
        teacher=replace(TEACHER, accuracy=None),
        student=replace(STUDENT, accuracy=None, agreement=0.875),
        accuracies=dict.fromkeys(("assembled",)),
        agreements={"assembled": 0.75},
    )
    return [
        finished(result(phases=measured)),
        finished(result(student=cheap, phases=measured), "b"),
        finished(unlabelled, "c"),
    ]


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


def test_the_verdict_stands_at_the_top_and_every_section_is_linked() -> None:
    page = Page(run_page(record())).root
    (verdict,) = page.find("p", "verdict")
    assert verdict.text.startswith("1 of 3 blocks were replaced, with 8.0x fewer parameters")
    linked = [link.attributes["href"] for link in page.find("nav")[0].find("a")]
    assert linked == [f"#{part.attributes['id']}" for part in page.find("section")]
    assert len(linked) == 9


def test_teacher_and_student_are_bars_of_the_same_scale() -> None:
    tiles = section(run_page(record()), "networks").find("figure")
    named = {tile.find("span")[0].text: tile for tile in tiles}
    assert list(named) == [
        "test accuracy",
        "parameters",
        "MACs",
        "latency, median of a batch of 1",
        "latency, 95th percentile of a batch of 1",
        "latency, median of a batch of 64",
        "latency, 95th percentile of a batch of 64",
        "size of weights",
    ]
    macs = named["MACs"]
    assert macs.find("b")[0].text == "teacher / student 2.50x"
    assert [text.text for text in macs.find("text", "value")] == ["5,000,000", "2,000,000"]
    widths = [float(bar.attributes["width"] or "") for bar in macs.find("rect", "bar")]
    assert widths[1] / widths[0] == pytest.approx(0.4)
    assert [text.text for text in named["size of weights"].find("text", "value")] == [
        "not recorded",
        "not recorded",
    ]
    assert "Size of weights: not recorded by the version of pbkd" in run_page(record())
    assert (
        "Energy of teacher and student: not measured: "
        in section(run_page(record()), "networks").text
    )


def test_the_size_of_weights_is_in_megabytes() -> None:
    sized = result(
        teacher=replace(TEACHER, weight_bytes=4_000_000),
        student=replace(STUDENT, weight_bytes=1_000_000),
    )
    tile = section(run_page(record(finished(sized))), "networks").find("figure")[-1]
    assert [text.text for text in tile.find("text", "value")] == ["4.00 MB", "1.00 MB"]
    assert "4.00x" in tile.text


def test_without_labels_the_agreement_has_a_bar_and_the_accuracies_say_why() -> None:
    text = run_page(record(three_runs()[2]))
    tiles = section(text, "networks").find("figure")
    assert tiles[0].text.count("not measured") >= 2
    assert {bar.attributes["width"] for bar in tiles[0].find("rect", "bar")} == {"0.0"}
    assert "87.50 %" in tiles[1].text
    assert "Accuracy not measured: no labels." in section(text, "notes").text
    assert section(text, "stages").find("tr")[1].text.startswith("assembled75.00 %")


def test_every_block_has_a_box_and_a_card_with_all_that_is_known() -> None:
    chain = section(run_page(record()), "chain")
    assert [box.find("text", "name")[0].text for box in chain.find("a")] == [
        "conv1",
        "conv2",
        "conv3",
    ]
    cards = chain.find("article")
    assert [card.find("h3")[0].text for card in cards] == ["conv1", "conv2", "conv3"]
    facts = dict(zip(*([e.text for e in cards[0].find(tag)] for tag in ("dt", "dd")), strict=True))
    assert facts == {
        "shapes": "3x8x8 to 4x8x8",
        "replacement": "separable rank=2",
        "parameters": "8,000 to 1,000",
        "MACs": "90,000 to 45,000",
        "cost": "500.00 ms a step, measured; its job took 1.50 s on worker 0",
        "alone it loses": "1.25 points on validation",
        "outcome": "accepted",
    }
    assert cards[0].find("title")[0].text == (
        "loss of conv1: teacher-fed: 0.5 to 0.25; student-fed: 0.125 to 0.125"
    )
    assert "the teacher's is kept: alone it loses too much" in cards[1].text
    assert "not scored: the block has no trained replacement" in cards[2].text


def test_a_block_that_was_not_trained_says_so_in_the_place_of_a_curve() -> None:
    untrained = replace(UNTRAINED, teacher_fed_losses=(), student_fed_losses=(), job_seconds=None)
    card = section(run_page(record(finished(result(blocks=(untrained,))))), "chain").find("article")
    assert "No loss curve: the block was not trained." in card[0].text
    assert "a step: not recorded; not trained" in card[0].text
    assert card[0].find("svg") == []
    diverged = replace(untrained, job_seconds=2.0)
    text = run_page(record(finished(result(blocks=(diverged,)))))
    assert "No loss curve: no epoch had a finite loss." in section(text, "chain").text


def test_candidates_are_told_of_where_there_were_several() -> None:
    other = replace(BLOCK, name="conv1.1", builder={"name": "low-rank"}, replaced=False, reason="x")
    run = finished(result(candidates=(BLOCK, other)))
    card = section(run_page(record(run)), "chain").find("article")[0]
    terms = [term.text for term in card.find("dt")]
    assert terms[-2:] == ["candidate conv1", "candidate conv1.1"]
    assert "low-rank; 1.25 points on validation; not taken: x" in card.text


def drawn(text: str) -> dict[str, list[tuple[str, float, float]]]:
    """Return the bars of each Gantt chart: what they are, and their start and seconds in pixels."""
    charts = section(text, "course").find("svg", "gantt")
    return {
        chart.find("title")[0].text: [
            (rect.text, float(rect.attributes["x"] or 0), float(rect.attributes["width"] or 0))
            for rect in chart.find("rect")
            if rect.text
        ]
        for chart in charts
    }


def test_plan_and_course_are_drawn_on_one_scale_of_time() -> None:
    events: list[Event] = [
        replace(block_event("a", 0, 1004.001, 4.0), losses=()),
        block_event("b", 0, 1004.002, 4.0),
        block_event("c", 1, 1020.0, 18.0),
        replace(block_event("d", 1, 1030.0, 5.0), phase="student-fed"),
        block_event("e", -1, 1030.0, 5.0),
        block_event("f", 0, 1030.0, float("nan")),
        block_event("g", 0, -1e300, 5.0),
        WorkerLost(time=1.0, pid=17, silent_seconds=12.3),
    ]
    text = run_page(record(events=events))
    charts = drawn(text)
    assert list(charts) == [
        "Planned: teacher-fed, greedy, 10.0 s",
        "Actual: teacher-fed, 20.0 s from the first job's start to the last one's end",
        "Actual: student-fed, 5.00 s from the first job's start to the last one's end",
    ]
    planned, actual, _ = charts.values()
    second = 840 / 19.999  # pixels, of the 840 of the chart
    assert [bar[0] for bar in planned] == ["teacher pass: 5.00 s", "training of conv1: 5.00 s"]
    assert planned[1][1:] == pytest.approx((96 + 5 * second, 5 * second), abs=0.1)
    assert [bar[0] for bar in actual] == ["training of a, b: 4.00 s", "training of c: 18.0 s"]
    assert actual[1][1:] == pytest.approx((96 + 1.999 * second, 18 * second), abs=0.1)
    assert "worker lost: process 17 gave no sign of life for 12 s" in section(text, "course").text


def test_what_a_folder_lacks_is_told_in_its_place() -> None:
    text = run_page(record(plan=None, config=None))
    assert "The plan: not recorded, " in section(text, "course").text
    assert "Actual, teacher-fed: not recorded, " in section(text, "course").text
    assert section(text, "speed").text.count("Not predicted: ") == 1
    assert "Configuration: not recorded." in section(text, "made").text
    assert "No epochs of fine-tuning were recorded." in section(text, "stages").text
    assert "a step: not recorded" in section(text, "chain").text


def test_a_resumed_run_has_no_sums_and_no_course() -> None:
    events = [block_event("conv1", 0, 1004.0, 4.0)]
    text = run_page(record(finished(resumed=True), events=events))
    assert "not shown, the run was stopped and resumed" in section(text, "course").text
    assert "whole runnot measured: the run was resumed" in section(text, "phases").text
    assert "not measured: the run was resumed" in section(text, "speed").text


def test_the_speedup_is_predicted_from_the_plans_costs_and_says_so() -> None:
    costs = (
        replace(PLAN.table.costs[0], name="a", prefix_seconds=0.0, teacher_seconds=1.0),
        replace(PLAN.table.costs[0], name="b", prefix_seconds=1.0, teacher_seconds=1.0),
    )
    plan = replace(
        PLAN,
        table=replace(PLAN.table, costs=costs),
        workers=(Worker(0), Worker(1)),
        schedule=Schedule(((Job(("a",)),), (Job(("b",)),))),
    )
    rows = section(run_page(record(plan=plan)), "speed").find("tr")[1:]
    cells = [[cell.text for cell in row.find("td")] for row in rows]
    assert cells == [
        ["predicted", "40.0 s", "1.00x"],
        ["predicted", "25.0 s", "1.60x"],
        ["predicted", "15.0 s", "2.67x"],
        ["measured; its ratio predicted", "10.0 s", "4.00x"],
    ]


def test_every_phase_and_every_note_is_there_and_unmeasured_joules_say_why() -> None:
    text = run_page(record())
    rows = section(text, "phases").find("tr")[1:]
    assert [row.find("th")[0].text for row in rows] == [
        *(phase.name for phase in PHASES),
        "whole run",
    ]
    assert rows[1].text.endswith("19.50gpu0 12.3, cpu-package-0 5.0")
    assert rows[0].text.endswith("2.50not measured")
    assert rows[-1].find("td")[0].text == "11.75"
    assert "Joules not measured: rapl: no counters." in section(text, "phases").text
    notes = [note.text for note in section(text, "notes").find("li")]
    assert notes == [
        "Recalibration was not asked for.",
        "Joules not measured: rapl: no counters.",
    ]
    made = section(text, "made")
    assert [pre.text for pre in made.find("pre")] == ["pbkd run seed=1", "seed: 1\n"]
    assert "torch2.14" in made.text


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
        assert HOSTILE in page.text


def test_changed_answers_are_told_counted_and_shown() -> None:
    known = Changes(
        images=1000,
        changed=7,
        gained=2,
        lost=4,
        confusions=(Answer(3, 3, 5, 6), Answer(1, 0, 1)),
        examples=(Answer(3, 3, 5, png=b"\x89PNG\r\n"), Answer(1, 0, 1)),
    )
    part = section(run_page(record(changes=known)), "changes")
    assert part.find("p")[0].text.startswith(
        "The prediction changed for 7 of 1,000 test images: 4 correct ones became wrong, 2 wrong"
        " ones became correct, "
    )
    assert [row.text for row in part.find("tr")[1:]] == ["3356", "1011"]
    (picture,) = part.find("img")
    assert picture.attributes["src"] == "data:image/png;base64,iVBORw0K"
    assert part.find("figcaption")[0].text == "3: 3 to 5"
    assert "Not recorded: " in section(run_page(record()), "changes").text
    none = section(
        run_page(
            record(
                changes=Changes(images=360, changed=0, gained=0, lost=0, confusions=(), examples=())
            )
        ),
        "changes",
    )
    assert none.find("p")[0].text == (
        "Student and teacher predict the same class for all 360 test images."
    )


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


def test_a_comparison_has_a_row_for_each_run_and_a_plot_for_each_cost() -> None:
    text = compare_page(three_runs())
    (table,) = section(text, "table").find("table", "sortable")
    assert [row.find("td")[0].text for row in table.find("tr")[1:]] == ["a", "b", "c"]
    figures = section(text, "plots").find("figure")
    captions = [figure.find("figcaption")[0].text for figure in figures]
    costs = ["MACs of an image", "ms for a batch of 1", "ms for a batch of 64"]
    scores = ["accuracy", "agreement with the teacher"]
    assert captions == [
        f"{score} against {cost}"
        for score in scores
        for cost in [*costs, "joules of the whole run, gpu0"]
    ]
    macs = figures[0]
    assert [circle.attributes["class"] for circle in macs.find("circle")].count("dot") == 2
    assert "Not drawn: 3; its score is not accuracy." in macs.text
    assert len(macs.find("path", "front")[0].attributes["d"] or "") > 10
    assert "Not drawn: 3; joules not measured: rapl: no counters." in figures[-1].text
    assert figures[-1].find("svg") == []
    assert "c: pbkd run seed=1" in section(text, "notes").text


def test_the_line_joins_what_no_other_run_beats() -> None:
    from pbkd.report.pareto import Point, front

    points = [
        Point("dear", "", 9, 0.9),
        Point("beaten", "", 5, 0.7),
        Point("cheap", "", 1, 0.6),
        Point("middle", "", 4, 0.8),
        Point("teacher", "", 2, 1.0, teacher=True),
        Point("as good as dear", "", 10, 0.9),
    ]
    assert [point.mark for point in front(points)] == ["cheap", "middle", "dear"]


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
