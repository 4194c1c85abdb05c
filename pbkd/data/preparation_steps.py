"""The preparation of pictures in words, for people who do not have pbkd."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbkd.data.preparation import Preparation

__all__ = ["preparation_steps"]

_COLOURS = {1: "grey", 3: "RGB"}


def preparation_steps(preparation: Preparation, *, from_pixels: bool = False) -> list[str]:
    """Describe how a picture becomes a network's input.

    Args:
        preparation: The preparation.
        from_pixels: Whether the network itself scales and normalises uint8 pixels.

    Returns:
        The steps in their order, a sentence each.
    """
    size = f"{preparation.height} x {preparation.width} pixels"
    normalization = preparation.normalization
    if normalization is None:
        return [
            f"Images are float32 (batch, {preparation.channels}, {preparation.height},"
            f" {preparation.width}), normalised by the program that made the network: it is not"
            " known how."
        ]
    colours = _COLOURS.get(preparation.channels, f"{preparation.channels} channels")
    steps = [
        f"Turn the picture upright by its EXIF orientation; convert it to {colours}, 8 bits each."
    ]
    resampled = f"with Pillow's {preparation.interpolation} filter"
    if preparation.resize is None:
        steps.append(f"Resize it to {size} {resampled}.")
    else:
        steps.append(f"Resize its shorter side to {preparation.resize} pixels {resampled}.")
        steps.append(f"Crop the central {size}.")
    if from_pixels:
        return [*steps, "Pass the pixels as uint8 (batch, height, width, channels)."]
    mean, std = list(normalization.mean), list(normalization.std)
    return [
        *steps,
        f"Divide by 255, subtract the mean {mean} and divide by the std {std} of each channel.",
        "Pass the images as float32 (batch, channels, height, width).",
    ]
