from __future__ import annotations

from pbkd.report.card import card
from pbkd.report.input import input_section
from tests.unit.report.test_card import result

STEPS = ("Crop the central 8 x 8 pixels.", "Divide by 255.")


def test_steps_are_numbered_and_classes_named() -> None:
    run = result(preparation=STEPS, class_names=("a cat", "two\nlines"))
    assert input_section(run) == [
        "## Input and classes",
        "1. Crop the central 8 x 8 pixels.\n2. Divide by 255.",
        "Classes: 0 = a cat, 1 = two lines.",
    ]
    assert "\n\n".join(input_section(run)) in card(run)


def test_many_classes_are_cut_off_and_unknown_ones_left_out() -> None:
    many = input_section(result(preparation=STEPS, class_names=tuple(map(str, range(1000)))))
    assert many[-1].endswith("98 = 98, 99 = 99, ….")
    assert len(input_section(result(preparation=STEPS))) == 2


def test_results_of_older_versions_have_no_such_section() -> None:
    assert input_section(result()) == []
    assert "Input and classes" not in card(result())
