from __future__ import annotations

from pbkd.report.class_scores import classes_csv
from tests.unit.report.test_card import CLASSES


def test_the_csv_has_a_row_for_every_class() -> None:
    assert classes_csv(CLASSES).splitlines() == [
        "label,name,images,teacher_correct,student_correct",
        "0,cat,600,590,590",
        "2,,400,390,370",
    ]
