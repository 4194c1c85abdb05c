from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from pbkd_classes import ClassesSection, register_sections

from pbkd.testing import check_section

CAT = {"label": 0, "name": "cat", "images": 600, "teacher_correct": 590, "student_correct": 590}
TWO = {"label": 2, "name": None, "images": 400, "teacher_correct": 390, "student_correct": 370}


def rendered(*classes: dict[str, Any], most_rows: int = 20, reason: str | None = None) -> str:
    scores = tuple(SimpleNamespace(**one) for one in classes)
    run: Any = SimpleNamespace(result=SimpleNamespace(classes=scores, accuracy_reason=reason))
    return ClassesSection(most_rows=most_rows).render(run)


def rows(text: str) -> list[list[str]]:
    found = re.findall(r"<tr>(.*?)</tr>", text)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in found]


def many(count: int) -> list[dict[str, Any]]:
    """Classes of 40 images, the last of which lose most."""
    return [{**CAT, "label": n, "name": f"<{n}>", "images": 40} | shares(n) for n in range(count)]


def shares(n: int) -> dict[str, int]:
    return {"teacher_correct": 40, "student_correct": 40 - n % 9}


def test_it_keeps_the_contract() -> None:
    check_section(ClassesSection())
    check_section(ClassesSection(most_rows=1))


def test_few_classes_are_all_shown_the_largest_loss_first() -> None:
    assert rows(rendered(CAT, TWO)) == [
        ["class", "images", "teacher", "student", "change in points"],
        ["2", "400", "97.50 % (95.5 to 98.6)", "92.50 % (89.5 to 94.7)", "-5.0"],
        ["cat (0)", "600", "98.33 % (97.0 to 99.1)", "98.33 % (97.0 to 99.1)", "+0.0"],
    ]


@pytest.mark.parametrize("most_rows", [20, 5])
def test_of_a_thousand_classes_the_worst_are_shown_and_the_others_folded_away(
    most_rows: int,
) -> None:
    shown, folded = rendered(*many(1000), most_rows=most_rows).split("<details>")
    worst, every = rows(shown), rows(folded)
    assert (len(worst), len(every)) == (most_rows + 1, 1001)
    assert worst[1][0] == "&lt;8&gt; (8)"
    assert {row[-1] for row in worst[1:]} == {"-20.0"}
    assert [row[0] for row in every[1:3]] == ["&lt;0&gt; (0)", "&lt;1&gt; (1)"]
    assert "<summary>All 1,000 classes, in their order</summary>" in folded


def test_without_classes_the_reason_stands_in_their_place() -> None:
    reason = "the data 'memory' has no labels"
    assert "Not measured: the data &#x27;memory&#x27; has no labels." in rendered(reason=reason)
    assert "the version of pbkd that made this run" in rendered()


def test_it_is_registered() -> None:
    assert register_sections() == [ClassesSection]
