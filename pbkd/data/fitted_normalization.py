"""The normalisation that fits the images: floats may be scaled, or normalised, already."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pbkd.data.checked_split import CheckedSplit, is_in_memory, pixel_range
from pbkd.data.normalization import Normalization
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.data.datasets import Dataset, Split
    from pbkd.data.pixel_values import PixelRange


__all__ = ["BY_USER", "FittedNormalization", "fit_normalization"]

BY_USER = frozenset(("mean", "std", "teacher.mean", "teacher.std"))
"""Origins of a mean or standard deviation that the user gave."""

_SAMPLE = 8
_TOLERANCE = 0.02
_LEAST_CONTRAST = 0.75  # of the images together, on the scale from 0 to 1


@dataclass(frozen=True)
class FittedNormalization:
    """How the images of a data set become a network's input.

    Attributes:
        normalization: What is applied to the images of `data`.
        of_pictures: What is applied to pixels in [0, 1] for the same result; None if unknown.
        data: The images. Those that are read on demand are checked then.
        values: The range of their values and what happens to it, in words.
    """

    normalization: Normalization
    of_pictures: Normalization | None
    data: Dataset
    values: str


def fit_normalization(
    data: Dataset, stated: Normalization, origins: Mapping[str, str]
) -> FittedNormalization:
    """Decide how images are normalised.

    Mean and std are for pixels in [0, 1]. They are applied to uint8 images, and to floats in [0, 1]
    or 0 … 255. Other floats are taken as normalised already.

    Args:
        data: The images.
        stated: Mean and std.
        origins: Where `mean` and `std` came from; empty if neither is known, and `stated` is the
            identity.

    Raises:
        DataError: Images are not finite, or of different kinds; or the user gave a mean and a
            standard deviation that do not fit floats outside of [0, 1].
    """
    found = data.pixel_range or pixel_range(
        {"training": data.train, "validation": data.validation, "test": data.test}
    )
    if found is None:
        data = replace(data, notes=(*data.notes, *_darkness(data)))
        return FittedNormalization(stated, stated, data, "pixels of 0 … 255 scaled to 0 … 1")
    known = bool(origins) and not stated.is_identity
    if known and found.difference:
        raise DataError(f"{found.difference}: prepare all of them in the same way.")
    normalization, of_pictures, note = (
        _of_known(found, stated, origins) if known else _of_unknown(found, stated)
    )
    data = _checked(data, *(found.limits if known else ()))
    notes = (*data.notes, note) if note else data.notes
    values = f"floats {found}"
    if known and found.kind == "bytes":
        values += " scaled to 0 … 1"
    elif not (known and found.kind == "unit"):
        values += " as given"
    return FittedNormalization(normalization, of_pictures, replace(data, notes=notes), values)


def _darkness(data: Dataset) -> list[str]:
    """Note if arrays of bytes seem to hold 0 and 1, which would be scaled to 0 and 1/255."""
    rows = torch.arange(0, len(data.train), -(-len(data.train) // _SAMPLE))
    if data.decoder is not None or int(data.train.images(rows).max()) > 1:
        return []
    return ["No pixel is above 1 of 255: give images of 0 and 1 as truth values or floats."]


def _of_unknown(
    found: PixelRange, stated: Normalization
) -> tuple[Normalization, Normalization | None, str]:
    """Leave floats as they are."""
    channels = len(stated.mean)
    if found.difference:
        return stated, None, f"Are all images prepared in the same way? For {found.difference}."
    if found.kind == "unit":
        return stated, stated, ""
    if found.kind == "bytes":
        bytes_of_pictures = Normalization((0.0,) * channels, (1 / 255,) * channels)
        return stated, bytes_of_pictures, f"The images are floats {found}, and used as they are."
    return stated, None, ""


def _of_known(
    found: PixelRange, stated: Normalization, origins: Mapping[str, str]
) -> tuple[Normalization, Normalization | None, str]:
    """Apply mean and std to floats in [0, 1] or 0 … 255, but not to normalised ones."""
    by_user = not BY_USER.isdisjoint(origins.values())
    floats = f"The images are floats {found}"
    if found.kind == "bytes":
        scaled = Normalization(
            tuple(255 * mean for mean in stated.mean), tuple(255 * std for std in stated.std)
        )
        return (
            scaled,
            stated,
            f"{floats}, which are divided by 255 before mean and std are applied.",
        )
    if found.kind == "unit":
        note = (
            f"{floats}, so mean and std of {origins['mean']} are applied; give mean 0 and std 1 if"
            " the teacher was trained without."
        )
        return stated, stated, "" if by_user else note
    identity = Normalization.identity(len(stated.mean))
    if _undone_is_unit(found, stated):
        return identity, stated, f"{floats}, normalised already, so mean and std are not applied."
    if by_user:
        raise DataError(
            f"the images are floats {found}, neither in 0 … 1 nor normalised by the mean"
            f" {list(stated.mean)} and the std {list(stated.std)}: leave mean and std out if they"
            " are as the teacher needs them, or give images in 0 … 1."
        )
    note = f"{floats}, and taken as normalised already, though not by {origins['mean']}."
    return identity, None, note


def _undone_is_unit(found: PixelRange, stated: Normalization) -> bool:
    """Whether the values without the normalisation would be in [0, 1], and make use of it."""
    mean, std = torch.tensor(stated.mean), torch.tensor(stated.std)
    low = float((torch.tensor(found.low) * std + mean).min())
    high = float((torch.tensor(found.high) * std + mean).max())
    return low >= -_TOLERANCE and high <= 1 + _TOLERANCE and high - low >= _LEAST_CONTRAST


def _checked(data: Dataset, *limits: float) -> Dataset:
    """Check the values of images that are read on demand."""

    def checked(name: str, split: Split) -> Split:
        return split if is_in_memory(split) else CheckedSplit(split, name, *limits)

    return replace(
        data,
        train=checked("training", data.train),
        validation=checked("validation", data.validation),
        test=checked("test", data.test),
    )
