from __future__ import annotations

import pytest

from pbkd.core.intervals import difference_interval
from pbkd.report.scores import interval_text, loss_text, points, score_text


@pytest.mark.parametrize(
    ("lost", "gained", "images", "said"),
    [
        (2, 3, 60, "gains 1.7 points on 60 validation images (95 %: -6.1 to 9.3)"),
        (1, 0, 60, "loses 1.7 points on 60 validation images (95 %: -2.8 to 6.1)"),
        (0, 0, 60, "loses 0.0 points on 60 validation images (95 %: -3.2 to 3.2)"),
        (0, 1, 3, "gains 33.3 points on 3 validation images (95 %: -32.6 to 72.6)"),
        (40, 8, 50_000, "loses 0.1 points on 50,000 validation images (95 %: 0.04 to 0.09)"),
        (60, 0, 60, "loses 100.0 points on 60 validation images (95 %: 91.4 to 100.0)"),
    ],
)
def test_a_change_is_a_loss_or_a_gain_and_never_a_negative_one(
    lost: int, gained: int, images: int, said: str
) -> None:
    interval = difference_interval(gained, lost, images)
    assert loss_text((lost - gained) / images, interval, images, "validation") == said


def test_what_is_unknown_is_left_out() -> None:
    assert loss_text(-0.05, None, None, "test") == "gains 5.0 points on test images"
    assert loss_text(0.051, None, 20, "test", digits=2) == "loses 5.10 points on 20 test images"
    assert score_text(None, 9) == points(None) == "not measured"
    assert score_text(0.5, None) == "50.00 %"
    assert score_text(0.5, 0) == "50.00 %"


@pytest.mark.parametrize(
    ("share", "images", "said"),
    [
        (0.9861, 360, "98.61 % (96.8 to 99.4)"),
        (1.0, 3, "100.00 % (43.9 to 100.0)"),
        (0.0, 20, "0.00 % (0.0 to 16.1)"),
        (0.75, 50_000, "75.00 % (74.62 to 75.38)"),
    ],
)
def test_an_accuracy_has_its_interval_in_brackets(share: float, images: int, said: str) -> None:
    assert score_text(share, images) == said


def test_no_end_of_an_interval_is_minus_zero() -> None:
    assert interval_text((-0.0004, 0.02)) == "0.0 to 2.0"
    assert interval_text((-0.00001, 0.00001)) == "0.00 to 0.00"
