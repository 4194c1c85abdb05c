from __future__ import annotations

from typing import Any

import pytest

from pbkd.core.events import EpochDone
from pbkd.core.plausible_numbers import is_plausible

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "value", "plausible"),
    [
        ("seconds", 3.5, True),
        ("seconds", -1.0, False),
        ("seconds", NAN, False),
        ("seconds", INFINITE, False),
        ("seconds", 1e16, False),
        ("accuracy", 1.0, True),
        ("accuracy", 1.01, False),
        ("solo_drop", -1.0, True),
        ("solo_drop", -1.5, False),
        ("interval", (-0.5, 0.5), True),
        ("interval", (-0.5, NAN), False),
        ("joules", {"gpu": 1.0, "cpu": 2.0}, True),
        ("joules", {"gpu": 1.0, "cpu": {"core": -2.0}}, False),
        ("losses", (NAN, INFINITE), True),  # of training that diverged
        ("teacher_fed_losses", (0.5, -2.0), True),
        ("teacher_fed_losses", (0.5, NAN), False),
        ("builder", {"offset": -1.0}, True),
        ("above_idle", -3.0, True),
        ("batch", 0, False),
        ("reason", "text", True),
        ("accuracy", None, True),
    ],
)
def test_numbers_are_finite_and_in_range(name: str, value: Any, plausible: bool) -> None:
    assert is_plausible(name, value) == plausible


@pytest.mark.parametrize(("accuracy", "loss"), [(0.5, NAN), (2.0, 1.0)])
def test_every_field_of_an_event_is_checked(accuracy: float, loss: float) -> None:
    event = EpochDone(
        worker=0, phase="fine-tuning", block="student", epoch=1, loss=loss, accuracy=accuracy
    )
    assert is_plausible("event", event) == (accuracy <= 1)
