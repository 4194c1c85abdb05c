"""Images and labels in the batches that a program's torch loader gives."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pbkd.data.labels import class_numbers
from pbkd.data.pixel_values import to_pixels
from pbkd.errors import DataError, PbkdError, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["describe", "guarded", "parse_batch", "parse_item_or_batch"]

_IMAGES = ("image", "images", "img", "pixel_values", "input", "inputs", "x")
_LABELS = ("label", "labels", "target", "targets", "y")
_CURES = {
    "PIL.": "give it a transform that makes tensors, such as torchvision.transforms.ToTensor()",
    "equal size": "give it a transform that makes all images the same size",
}
_FORM = (
    "but must be a tensor of images, or a pair of tensors, images and labels: give the loader such"
    " a collate_fn"
)


def parse_batch(batch: Any) -> tuple[Tensor, Tensor | None]:
    """Take the images and the labels out of a batch.

    Args:
        batch: Images; a sequence of images, labels and anything else; or a mapping with one of the
            keys `image`, `images`, `img`, `pixel_values`, `input`, `inputs` and `x`, and one of
            `label`, `labels`, `target`, `targets` and `y`.

    Returns:
        The images (B, C, H, W), on the CPU; and the classes, int64 (B,), or None.

    Raises:
        DataError: It has another form.
    """
    images, labels = _parts(batch)
    pixels = _stacked(images, batch)
    if pixels.ndim != 4:
        raise DataError(
            f"the images of a batch must be (N, channels, height, width), but are"
            f" {tuple(pixels.shape)}."
        )
    if labels is None:
        return pixels, None
    classes = class_numbers(labels)
    if len(classes) != len(pixels):
        raise DataError(f"a batch has {len(pixels)} images, but {len(classes)} labels.")
    return pixels, classes


def parse_item_or_batch(given: Any) -> tuple[Tensor, Tensor | None]:
    """Take the images and labels out of a batch, or out of a single item with an image (C, H, W).

    Returns:
        As `parse_batch` does.
    """
    images, labels = _parts(given)
    if isinstance(images, (Tensor, np.ndarray)) and images.ndim == 3:
        label = None if labels is None else torch.as_tensor(labels)[None]
        return parse_batch((images[None], label))
    return parse_batch(given)


def describe(source: Any) -> str:
    """Name the type of a source, and the type of its data set if it has one."""
    name, dataset = type(source).__name__, getattr(source, "dataset", None)
    return name if dataset is None else f"{name} of {type(dataset).__name__}"


@contextmanager
def guarded(source: Any) -> Iterator[None]:
    """Turn the errors of a program's own data set or loader into a `DataError` that names it."""
    try:
        yield
    except PbkdError:
        raise
    except Exception as error:  # the program's code can raise anything
        if is_out_of_memory(error):
            raise
        lines = str(error).strip().splitlines() or [""]
        cures = [cure for sign, cure in _CURES.items() if sign in str(error)]
        raise DataError(
            f"the {describe(source)} cannot be read ({type(error).__name__}:"
            f" {lines[-1].rstrip('.')}): {cures[0] if cures else 'correct it'}."
        ) from error


def _parts(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, Mapping):
        return _parts_by_key(batch)
    if isinstance(batch, (tuple, list)) and len(batch):
        return batch[0], batch[1] if len(batch) > 1 else None
    return batch, None


def _parts_by_key(batch: Mapping[Any, Any]) -> tuple[Any, Any]:
    images = [key for key in _IMAGES if key in batch]
    labels = [key for key in _LABELS if key in batch]
    if len(images) != 1 or len(labels) > 1 or (not labels and len(batch) > 1):
        raise DataError(
            f"a batch has the keys {_listed(batch)}, but must have one of {_listed(_IMAGES)} and,"
            f" for labels, one of {_listed(_LABELS)}: give the loader such a collate_fn."
        )
    return batch[images[0]], batch[labels[0]] if labels else None


def _stacked(images: Any, batch: Any) -> Tensor:
    if isinstance(images, np.ndarray):
        images = torch.as_tensor(images)
    if isinstance(images, (tuple, list)) and images and all(isinstance(i, Tensor) for i in images):
        if len({each.shape for each in images}) > 1:
            raise DataError(f"the images of a batch differ in size: {_CURES['equal size']}.")
        images = torch.stack(tuple(images))
    if not isinstance(images, Tensor):
        raise DataError(f"a batch is a {type(batch).__name__} of {type(images).__name__}, {_FORM}.")
    return to_pixels(images)


def _listed(keys: Iterable[Any]) -> str:
    return ", ".join(f"'{key}'" for key in keys)
