from __future__ import annotations

from dataclasses import replace

import pytest

from pbkd.core.events import BlockScored, EpochDone, Event, TeacherScored
from pbkd.report.console.display import open_console
from pbkd.report.console.lines import print_event

SCORED = BlockScored(
    block="conv1", solo_drop=0.0167, reason=None, interval=(-0.0254, 0.0587), images=60
)
LOSS = "conv1: alone it loses 1.7 points on 60 validation images (95 %: -2.5 to 5.9)"
GAIN = "conv1: alone it gains 1.7 points on 60 validation images (95 %: -2.5 to 5.9)"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (SCORED, f"{LOSS}; accepted"),
        (replace(SCORED, solo_drop=-0.0167, interval=(-0.0587, 0.0254)), f"{GAIN}; accepted"),
        (
            BlockScored(block="conv1", solo_drop=-0.0167, reason=None),  # of an older version
            "conv1: alone it gains 1.7 points on validation images; accepted",
        ),
        (
            BlockScored(block="conv1", solo_drop=0.5, reason="it loses more"),
            "conv1: keeps the teacher's: it loses more",
        ),
        (
            TeacherScored(name="vgg", images=360, accuracy=0.1, cut="fx"),
            "teacher vgg: 10.00 % of 360 test images (95 %: 7.3 to 13.5); cut by fx",
        ),
        (
            TeacherScored(name="vgg", images=1, accuracy=1.0, cut="fx"),
            "teacher vgg: 100.00 % of 1 test images (95 %: 20.7 to 100.0); cut by fx",
        ),
        (
            TeacherScored(name="vgg", images=360, accuracy=None, cut="fx"),
            "teacher vgg: 360 test images, no labels; cut by fx",
        ),
        (
            EpochDone(
                worker=None, phase="fine-tuning", block="student", epoch=2, loss=1, accuracy=0.5
            ),
            "fine-tuning, epoch 2: loss 1.0000, validation 50.00 %",
        ),
        (
            EpochDone(
                worker=None, phase="fine-tuning", block="0.35", epoch=2, loss=1, accuracy=0.5
            ),
            "fine-tuning of 0.35, epoch 2: loss 1.0000, validation 50.00 %",
        ),
        (
            EpochDone(worker=None, phase="training", block="vgg", epoch=1, loss=1, accuracy=0.5),
            "training, epoch 1: loss 1.0000, validation 50.00 %",
        ),
    ],
)
def test_an_event_is_a_line_with_its_uncertainty(
    event: Event, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_event(event, open_console())
    assert capsys.readouterr().out == f"{line}\n"


def test_an_epoch_of_a_block_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    epoch = EpochDone(worker=0, phase="teacher-fed", block="conv1", epoch=2, loss=1)
    print_event(epoch, open_console())
    assert capsys.readouterr().out == ""
