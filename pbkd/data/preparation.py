"""The preparation of pictures: every step from a picture to a network's input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.data.normalization import Normalization


__all__ = ["Preparation", "describe_preparation"]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How a picture becomes a network's input; the steps are in the order of the attributes.

    Attributes:
        channels: 3 (RGB) or 1 (grey); other numbers have no picture format.
        resize: Length of the shorter side after resizing, in pixels; None to resize to `height` and
            `width` directly.
        interpolation: Resampling filter of Pillow, such as `bilinear`.
        height: Height of the centre crop, in pixels.
        width: Width of the centre crop, in pixels.
        normalization: Mean and std of pixel values scaled to [0, 1]; None if unknown, because the
            images were given as normalised floats.
        origins: Where the values came from: by attribute, and `mean` and `std` for `normalization`.
            `range` says what the values of the run's own images are.
    """

    channels: int
    resize: int | None
    interpolation: str
    height: int
    width: int
    normalization: Normalization | None
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the network's input."""
        return self.channels, self.height, self.width


def describe_preparation(preparation: Preparation) -> str:
    """Say in one sentence how the images of a run are prepared, and why so."""
    origins, size = preparation.origins, f"{preparation.height} x {preparation.width} pixels"
    order = {1: "grey", 3: "RGB"}.get(preparation.channels, f"{preparation.channels} channels")
    if preparation.resize is None:
        steps = [f"{size} and {preparation.channels} channel(s) as given ({origins['channels']})"]
    else:
        steps = [
            "turned upright",
            f"shorter side to {preparation.resize} pixels ({origins['resize']})",
            f"{preparation.interpolation} ({origins['interpolation']})",
            f"centre crop of {size} ({origins['height']})",
            f"{order} ({origins['channels']})",
        ]
    return f"Images: {', '.join([*steps, *_value_steps(preparation)])}."


def _value_steps(preparation: Preparation) -> list[str]:
    origins, normalization = preparation.origins, preparation.normalization
    steps = [origins["range"]]
    if normalization is None or "mean" not in origins:
        return steps
    mean, std = (
        f"[{', '.join(f'{value:.4g}' for value in values)}]"
        for values in (normalization.mean, normalization.std)
    )
    if origins["mean"] == origins["std"]:
        return [*steps, f"mean {mean} and std {std} ({origins['mean']})"]
    return [*steps, f"mean {mean} ({origins['mean']})", f"std {std} ({origins['std']})"]
