from __future__ import annotations

from dataclasses import replace

from pbkd.data.normalization import Normalization
from pbkd.data.preparation import Preparation
from pbkd.data.preparation_steps import preparation_steps

PHOTOGRAPHS = Preparation(
    channels=3,
    resize=256,
    interpolation="bicubic",
    height=224,
    width=192,
    normalization=Normalization((0.5, 0.4, 0.3), (0.2, 0.2, 0.1)),
)


def test_every_step_is_said_in_its_order() -> None:
    assert preparation_steps(PHOTOGRAPHS) == [
        "Turn the picture upright by its EXIF orientation; convert it to RGB, 8 bits each.",
        "Resize its shorter side to 256 pixels with Pillow's bicubic filter.",
        "Crop the central 224 x 192 pixels.",
        "Divide by 255, subtract the mean [0.5, 0.4, 0.3] and divide by the std [0.2, 0.2, 0.1] of"
        " each channel.",
        "Pass the images as float32 (batch, channels, height, width).",
    ]


def test_a_network_that_takes_pixels_normalises_them_itself() -> None:
    *_, last = steps = preparation_steps(PHOTOGRAPHS, from_pixels=True)
    assert last == "Pass the pixels as uint8 (batch, height, width, channels)."
    assert not any("mean" in step for step in steps)


def test_other_preparations() -> None:
    grey = replace(PHOTOGRAPHS, channels=1, resize=None, normalization=Normalization((0,), (1,)))
    assert "convert it to grey" in preparation_steps(grey)[0]
    assert preparation_steps(grey)[1].startswith("Resize it to 224 x 192 pixels with Pillow's")
    (only,) = preparation_steps(replace(PHOTOGRAPHS, normalization=None))
    assert "it is not known how" in only
