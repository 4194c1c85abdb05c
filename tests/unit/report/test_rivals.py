"""Baselines in the card, the page and in sentences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pbkd.report.card import card
from pbkd.report.rivals import RIVAL_HEADS, rival_notes, rival_rows, rival_sentence
from pbkd.report.run_files import rewrite_card
from pbkd.report.run_page import run_page
from pbkd.runs.baselines import add_baseline
from pbkd.runs.checksums import check_files
from pbkd.runs.finished import read_finished
from tests.unit.report import pages
from tests.unit.report.test_compare import RESULT, SCRATCH, finished

SECOND = replace(SCRATCH.trainings[0], seed=1, score=0.6375)
OTHER_RATE = replace(SCRATCH.trainings[0], lr=0.001, validation=0.25)
SEEDS = replace(SCRATCH, trainings=(OTHER_RATE, *SCRATCH.trainings, SECOND), score=0.6)


@pytest.mark.parametrize(
    ("difference", "interval", "said"),
    [
        (0.0625, (0.02, 0.15), "the student is 6.25 points ahead (95 %: 2.0 to 15.0)"),
        (-0.0625, (-0.15, -0.02), "the rival is 6.25 points ahead (95 %: 2.0 to 15.0)"),
        (0.01, (-0.02, 0.04), "the student's +1.00 points are no more than chance (95 %: -2.0 to"),
    ],
)
def test_a_sentence_says_who_is_ahead(
    difference: float, interval: tuple[float, float], said: str
) -> None:
    rival = replace(SCRATCH, difference=difference, interval=interval)
    weaker = replace(SCRATCH, method="distillation", score=0.5)
    run = pages.finished(RESULT, baselines={"distillation": weaker, "scratch": rival})
    assert run.strongest == rival
    sentence = rival_sentence(run) or ""
    assert sentence.startswith(
        "The strongest rival is scratch (the student with random weights) with 56.25 %, at 1.00"
        " times its MACs and 1.20 times its milliseconds; "
    )
    assert said in sentence
    assert rival_sentence(pages.finished(RESULT)) is None


def test_a_row_has_score_costs_and_the_spread_of_seeds() -> None:
    student, row = rival_rows(pages.finished(RESULT, baselines={"scratch": SEEDS}))
    assert dict(zip(RIVAL_HEADS, row, strict=True)) == {
        "network": "scratch: the student with random weights",
        "test score": "60.00 % (2 seeds: 56.25 to 63.75)",
        "student ahead by": "+6.25 (-3.0 to 15.0)",
        "MACs": "4,000",
        "ms at 1": "4.00 (4.00)",
        "ms at 64": "12.00 (10.00)",
        "epochs": "3",
        "seconds": "61.2",
        "CPU seconds": "60.5",
    }
    assert student[:2] == ("student (pbkd)", "62.50 % (51.5 to 72.3)")
    assert student[-2:] == ("62.0", "5.0")


def test_notes_have_every_rate_and_its_validation_score() -> None:
    notes = rival_notes(pages.finished(RESULT, baselines={"scratch": SEEDS}))
    assert notes[1].endswith("was chosen: scratch 0.001 (25.00 %), 0.003 (50.00 %).")
    assert notes[2] == "scratch: The machine was busy."


def test_card_and_page_show_rivals(tmp_path: Path) -> None:
    run = finished(tmp_path / "a")
    assert "Rivals" not in card(run.result, run)
    add_baseline(tmp_path / "a", SEEDS)
    rewrite_card(tmp_path / "a")
    check_files(tmp_path / "a", ["README.md"])
    run = read_finished(tmp_path / "a")
    text = (tmp_path / "a" / "README.md").read_text()
    assert text == card(run.result, run)
    assert "60.00 % (2 seeds: 56.25 to 63.75)" in text
    shown = pages.section(run_page(pages.record(run)), "rivals")
    assert "60.00 % (2 seeds: 56.25 to 63.75)" in shown.text
    (tmp_path / "a" / "README.md").write_text("mine")
    rewrite_card(tmp_path / "a")
    assert (tmp_path / "a" / "README.md").read_text() == "mine"
