from __future__ import annotations

from pbkd.core.scores import ClassScore
from pbkd.report.class_scores import class_tables, classes_csv
from tests.unit.report.pages import Page
from tests.unit.report.test_card import CLASSES, result


def rows(text: str, index: int = 0) -> list[list[str]]:
    table = Page(text).root.find("table")[index]
    return [[cell.text for cell in (*row.find("th"), *row.find("td"))] for row in table.find("tr")]


def many(count: int) -> tuple[ClassScore, ...]:
    """Classes of 40 images, the last of which lose most."""
    return tuple(
        ClassScore(
            label=n, name=f"<{n}>", images=40, teacher_correct=40, student_correct=40 - n % 9
        )
        for n in range(count)
    )


def test_few_classes_are_all_shown_the_largest_loss_first() -> None:
    assert rows(class_tables(result())) == [
        ["class", "images", "teacher", "student", "change in points"],
        ["2", "400", "97.50 % (95.5 to 98.6)", "92.50 % (89.5 to 94.7)", "-5.0"],
        ["cat (0)", "600", "98.33 % (97.0 to 99.1)", "98.33 % (97.0 to 99.1)", "+0.0"],
    ]


def test_of_a_thousand_classes_the_worst_are_shown_and_the_others_folded_away() -> None:
    text = class_tables(result(classes=many(1000)))
    worst, every = rows(text), rows(text, 1)
    assert (len(worst), len(every)) == (21, 1001)
    assert worst[1][0] == "<8> (8)"
    assert {row[-1] for row in worst[1:]} == {"-20.0"}
    assert [row[0] for row in every[1:4]] == ["<0> (0)", "<1> (1)", "<2> (2)"]
    (folded,) = Page(text).root.find("details")
    assert folded.find("summary")[0].text == "All 1,000 classes, in their order"


def test_without_classes_the_reason_stands_in_their_place() -> None:
    unlabelled = result(classes=(), accuracy_reason="the data 'memory' has no labels")
    assert "Not measured: the data &#x27;memory&#x27; has no labels." in class_tables(unlabelled)
    assert "the version of pbkd that made this run" in class_tables(result(classes=()))


def test_the_csv_has_a_row_for_every_class() -> None:
    assert classes_csv(CLASSES).splitlines() == [
        "label,name,images,teacher_correct,student_correct",
        "0,cat,600,590,590",
        "2,,400,390,370",
    ]
