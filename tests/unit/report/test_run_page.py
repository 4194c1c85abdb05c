from __future__ import annotations

from dataclasses import replace

import pytest

from pbkd.core.events import Event, WorkerLost
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.report.run_page import run_page
from pbkd.runs.disagreements import Answer, Changes
from tests.unit.report.pages import (
    PLAN,
    Page,
    block_event,
    drawn,
    fine_tuning_epoch,
    finished,
    record,
    section,
    three_runs,
)
from tests.unit.report.test_card import BLOCK, PHASES, STUDENT, TEACHER, UNTRAINED, result


def test_the_verdict_stands_at_the_top_and_every_section_is_linked() -> None:
    page = Page(run_page(record())).root
    (verdict,) = page.find("p", "verdict")
    assert verdict.text.startswith("1 of 3 blocks were replaced: the student has 4.0x fewer para")
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
        "alone": "loses 1.2 points on 160 validation images (95 %: -1.1 to 3.6)",
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


def test_a_loss_that_exploded_leaves_a_gap_in_its_curve_and_is_named() -> None:
    losses = 4.0, float("nan"), float("inf"), 2.0
    events: list[Event] = [fine_tuning_epoch(n, loss, 0.5) for n, loss in enumerate(losses, 1)]
    stages = section(run_page(record(events=events)), "stages")
    loss, score = stages.find("figure")
    assert len(loss.find("polyline")) == 2
    assert loss.find("title")[0].text == "fine-tuning: loss: 4 to 2"
    assert "Not drawn: loss of epoch 2, which is nan, and 1 more." in loss.text
    assert "fine-tuning epoch 1 to 4" in loss.text
    assert len(score.find("polyline")) == 1
    exploded = section(run_page(record(events=events[1:2])), "stages")
    assert "Not drawn: loss of epoch 1, which is nan." in exploded.text
    assert "validation" in exploded.find("figure")[1].text


def test_candidates_are_told_of_where_there_were_several() -> None:
    other = replace(BLOCK, name="conv1.1", builder={"name": "low-rank"}, replaced=False, reason="x")
    run = finished(result(candidates=(BLOCK, other)))
    card = section(run_page(record(run)), "chain").find("article")[0]
    terms = [term.text for term in card.find("dt")]
    assert terms[-2:] == ["candidate conv1", "candidate conv1.1"]
    assert "low-rank; loses 1.2 points on 160 validation images (95 %: -1.1" in card.text
    assert "; not taken: x" in card.text


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
    assert "Class numbers are those in the data." in part.text
    named = result(class_names=("pump", "tench", "horn", "<church>"))
    part = section(run_page(record(finished(named), changes=known)), "changes")
    assert [row.text for row in part.find("tr")[1:]] == ["<church><church>56", "tenchpumptench1"]
    assert "Class numbers" not in part.text
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
