"""Normalisation of images: from pixels to a network's float input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from pbkd.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor


__all__ = ["Normalization", "read_normalization"]

_LARGEST = 2.0  # of mean and std for pixels in [0, 1]; larger ones are for 0 … 255


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of each channel, for pixel values scaled to [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def identity(cls, channels: int) -> Normalization:
        """Return the normalisation that leaves float images as they are."""
        return cls((0.0,) * channels, (1.0,) * channels)

    @property
    def is_identity(self) -> bool:
        """Whether float images are left as they are."""
        return not any(self.mean) and all(value == 1 for value in self.std)

    def apply(self, images: Tensor, device: torch.device | str) -> Tensor:
        """Move images to a device and normalise them there.

        Args:
            images: uint8 or float32 (B, C, H, W). uint8 images are scaled to [0, 1] first.
            device: Where the result is needed.

        Returns:
            `(images - mean) / std`: float32 (B, C, H, W), channels-last, on `device`.

        Raises:
            DataError: If `mean` or `std` do not have one value per channel.
        """
        if not len(self.mean) == len(self.std) == images.shape[1]:
            raise DataError(
                f"the images have {images.shape[1]} channels, but mean and std have"
                f" {len(self.mean)} and {len(self.std)} values."
            )
        moved = images.to(device, non_blocking=True)
        pixels = moved.to(torch.float32, memory_format=torch.channels_last)
        if not images.is_floating_point():
            pixels = pixels.div_(255)
        elif self.is_identity:
            return pixels
        mean, std = _per_channel(self.mean, device), _per_channel(self.std, device)
        if images.is_floating_point():  # `pixels` may be the caller's tensor
            return (pixels - mean).div_(std)
        return pixels.sub_(mean).div_(std)

    def pixels(self, images: Tensor) -> Tensor:
        """Undo `apply`: float32 (B, C, H, W) on the CPU to the nearest uint8 pixels."""
        mean, std = _per_channel(self.mean, "cpu"), _per_channel(self.std, "cpu")
        return (255 * (images * std + mean)).round().clamp(0, 255).to(torch.uint8)


def read_normalization(mean: Any, std: Any, prefix: str = "") -> Normalization:
    """Check mean and standard deviation.

    Args:
        mean: A number for each channel, in any sequence, array or tensor; or one number alone.
        std: As `mean`.
        prefix: What to write before `mean` and `std` in errors, such as `teacher.`.

    Raises:
        ConfigError: They are no finite numbers, differ in length, are out of range, or are for
            pixels from 0 to 255.
    """
    means, stds = _numbers(mean, f"{prefix}mean"), _numbers(std, f"{prefix}std")
    if not all(value > 0 for value in stds):
        raise ConfigError(f"'{prefix}std' is {list(stds)}, but every value must be above 0.")
    if len(means) != len(stds):
        raise ConfigError(
            f"'{prefix}mean' has {len(means)} values and '{prefix}std' has {len(stds)}, but both"
            " must have one for each channel."
        )
    if max(*means, *stds) > _LARGEST:
        raise ConfigError(
            f"'{prefix}mean' is {list(means)} and '{prefix}std' is {list(stds)}, as for pixels from"
            " 0 to 255, but they are for pixels from 0 to 1: divide both by 255."
        )
    return Normalization(means, stds)


def _numbers(values: Any, name: str) -> tuple[float, ...]:
    try:
        numbers = torch.as_tensor(values, dtype=torch.float64).flatten().tolist()
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"'{name}' is {values!r}, but must be a list of numbers.") from error
    if not numbers or not all(map(math.isfinite, numbers)):
        raise ConfigError(f"'{name}' is {values!r}, but must be a finite number for each channel.")
    return tuple(numbers)


@lru_cache
def _per_channel(values: tuple[float, ...], device: torch.device | str) -> Tensor:
    """Return a number for each channel on a device, to which it is moved once."""
    column = torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
    return column.to(device, non_blocking=True)
