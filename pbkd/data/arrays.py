"""Splits of images that are numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pbkd.data.datasets import ArraySplit, missing_labels
from pbkd.data.labels import class_numbers
from pbkd.data.pixel_values import to_pixels

__all__ = ["split_from_arrays"]


def split_from_arrays(images: Any, labels: Any) -> ArraySplit:
    """Make a split of numpy arrays.

    Args:
        images: Images, (N, H, W) or (N, H, W, C), of a type that `to_pixels` takes.
        labels: Labels, see `class_numbers`; None if there are none.
    """
    pixels = np.asarray(images)
    pixels = pixels[..., np.newaxis] if pixels.ndim == 3 else pixels
    native = pixels.dtype.newbyteorder("=") if pixels.dtype != np.longdouble else np.float64
    pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=native)
    tensor = to_pixels(torch.from_numpy(pixels))
    return ArraySplit(
        tensor, missing_labels(len(tensor)) if labels is None else class_numbers(labels)
    )
