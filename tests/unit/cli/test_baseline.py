from __future__ import annotations

import pytest

from pbkd.cli.baseline import _show_epoch
from pbkd.pipeline.baselines.settings import BaselineEpoch


@pytest.mark.parametrize(
    ("epochs", "shown"),
    [
        (3, [1, 2, 3]),
        (20, [*range(1, 21)]),
        (304, [*range(16, 305, 16)]),
        (310, [*range(16, 305, 16), 310]),
    ],
)
def test_of_hundreds_of_epochs_about_twenty_are_shown_and_the_last(
    epochs: int, shown: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    for epoch in range(1, epochs + 1):
        _show_epoch(BaselineEpoch("scratch", 0.001, 0, epoch, epochs, 0.5, 0.9))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"scratch, lr 0.001, seed 0, epoch {epoch} of {epochs}: loss 0.5000, validation 90.00 %"
        for epoch in shown
    ]
