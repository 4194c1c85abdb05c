"""A preparation as transforms of torchvision."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pbkd.data.picture_conversion import to_mode
from pbkd.data.preparation_file import PILLOW_MODES
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from pbkd.data.normalization import Normalization
    from pbkd.data.preparation import Preparation


__all__ = ["picture_transform"]


def picture_transform(preparation: Preparation) -> Any:
    """Build the transforms that turn a picture into a network's input.

    Args:
        preparation: How pictures are prepared.

    Returns:
        A `torchvision.transforms.v2.Compose`. It takes a Pillow image, or a tensor (..., C, H, W)
        of uint8 or of floats in [0, 1], and returns a float32 tensor (..., C, height, width).

    Raises:
        ConfigError: If the normalisation is unknown, because the run got normalised images.
    """
    from PIL.Image import Image
    from torchvision.transforms import InterpolationMode, v2

    if preparation.normalization is None:
        raise ConfigError(
            "it is not known how a picture becomes this student's input: its run got normalised"
            " images; prepare pictures as the program did that gave them."
        )
    size = [preparation.height, preparation.width]
    resize = size if preparation.resize is None else [preparation.resize]
    mode = PILLOW_MODES.get(preparation.channels)
    return v2.Compose(
        [
            *([v2.Lambda(partial(to_mode, mode=mode), Image)] if mode else []),
            v2.Resize(resize, InterpolationMode(preparation.interpolation), antialias=True),
            v2.CenterCrop(size),
            v2.PILToTensor(),
            v2.Lambda(partial(_normalize, normalization=preparation.normalization)),
        ]
    )


def _normalize(pixels: Tensor, normalization: Normalization) -> Tensor:
    """Scale uint8 to [0, 1] and normalise, by the very operations of a run."""
    batch = pixels if pixels.ndim > 3 else pixels[None]
    normalized = normalization.apply(batch.as_subclass(Tensor), batch.device).contiguous()
    return normalized if pixels.ndim > 3 else normalized[0]
