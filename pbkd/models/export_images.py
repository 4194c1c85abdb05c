"""Images of a run's data for exporters: to calibrate and to decide on, none of the test split."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from pbkd.protocols import ExportImages

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.data.datasets import Dataset, Split
    from pbkd.data.normalization import Normalization


__all__ = ["draw_export_images"]

_CALIBRATION, _VALIDATION = 512, 2_000
_MOST_BYTES = 2**28  # of the float images of one split


def draw_export_images(data: Dataset, normalization: Normalization, seed: int) -> ExportImages:
    """Draw images of a run's training and validation split, without augmentation.

    Args:
        data: The run's data, with the teacher's classes if it has no labels.
        normalization: How the networks' images are normalised.
        seed: The run's seed.

    Returns:
        At most 512 training and 2,000 validation images, normalised: float32 (N, C, H, W); fewer of
        large images, so that each take at most 256 MiB.
    """
    most = max(1, _MOST_BYTES // (4 * math.prod(data.image_shape)))
    generator = torch.Generator().manual_seed(seed)

    def draw(split: Split, count: int) -> tuple[Tensor, Tensor]:
        rows = torch.randperm(len(split), generator=generator)[: min(count, most)].sort().values
        return normalization.apply(split.images(rows), "cpu").contiguous(), rows

    calibration, _ = draw(data.train, _CALIBRATION)
    validation, rows = draw(data.validation, _VALIDATION)
    classes = data.validation.labels[rows]
    return ExportImages(calibration=calibration, validation=validation, classes=classes)
