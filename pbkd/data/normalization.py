"""Normalisation of images: from uint8 pixels to a network's float input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


__all__ = ["Normalization"]


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of each channel, for pixel values scaled to [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, images: Tensor, device: torch.device | str) -> Tensor:
        """Move images to a device and normalise them there.

        Args:
            images: (B, C, H, W): uint8, or float images, which are normalised already and only
                moved.
            device: Where the result is needed.

        Returns:
            `(images / 255 - mean) / std`: float32 (B, C, H, W), channels-last, on `device`.

        Raises:
            DataError: If `mean` or `std` do not have one value per channel.
        """
        if not len(self.mean) == len(self.std) == images.shape[1]:
            raise DataError(
                f"the images have {images.shape[1]} channels, but mean and std have"
                f" {len(self.mean)} and {len(self.std)} values."
            )
        pixels = images.to(device, non_blocking=True)
        pixels = pixels.to(torch.float32, memory_format=torch.channels_last)
        if images.is_floating_point():
            return pixels
        return (
            pixels.div_(255)
            .sub_(_per_channel(self.mean, device))
            .div_(_per_channel(self.std, device))
        )


def _per_channel(values: Sequence[float], device: torch.device | str) -> Tensor:
    column = torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
    return column.to(device, non_blocking=True)
