"""The random shifts and flips that tests augment with."""

from __future__ import annotations

from dataclasses import replace

from pbkd_crop_flip import CropFlip

from pbkd.data.augmentation import Augmentation, crop_and_flip


def shifts(crop: int = 0, flip: bool = False) -> Augmentation:
    return Augmentation(crop_and_flip(crop, flip), strategy=CropFlip(crop, flip))


def created(augmentation: Augmentation) -> Augmentation:
    """Create the strategy that a source of data chose, as a run does."""
    options = {key: value for key, value in augmentation.choice.items() if key != "name"}
    return replace(augmentation, strategy=CropFlip(**options) if options else None)
