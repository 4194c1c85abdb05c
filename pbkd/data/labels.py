"""Labels in the forms that data sets have, as class numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pbkd.errors import DataError

__all__ = ["class_numbers"]


def class_numbers(values: Any, name: str = "the labels") -> Tensor:
    """Turn the labels of images into class numbers.

    Args:
        values: A tensor, an array or a sequence with an entry per image: integers of any type,
            truth values, or floats without a fraction, (N,) or (N, 1); or one-hot rows,
            (N, classes).
        name: What the labels are called in an error.

    Returns:
        Class numbers, int64 (N,).

    Raises:
        DataError: The labels are text, soft labels, several labels per image, or something else.
    """
    labels = _numbers(values, name)
    if labels.ndim > 1 and labels.shape[1:].numel() == 1:
        labels = labels.reshape(-1)
    if labels.ndim == 2:
        return _from_one_hot(labels, name)
    if labels.ndim != 1:
        raise _refusal(name, f"have the shape {tuple(labels.shape)}, as for boxes or segmentation")
    whole = labels.to(torch.int64)
    if not torch.equal(whole.to(labels.dtype), labels):
        example = next(value for value in labels.tolist() if value != value // 1)
        raise _refusal(name, f"are numbers such as {example:.4g}, as for regression")
    return whole


def _numbers(values: Any, name: str) -> Tensor:
    """Return int64, float64 or a tensor's own type, of any shape."""
    if isinstance(values, Tensor):
        numbers = values.detach().cpu()
        if numbers.is_complex():
            raise _refusal(name, "are complex numbers")
        return numbers if numbers.is_floating_point() else numbers.to(torch.int64)
    if isinstance(values, (list, tuple)) and any(isinstance(value, Tensor) for value in values):
        return _numbers(_stacked(values, name), name)
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise _refusal(name, "differ in length between images, as for detection") from error
    if array.dtype.kind not in "biuf":
        first = array.reshape(-1)[0] if array.size else None
        text = isinstance(first, (str, bytes))
        raise _refusal(
            name, f"are text, such as '{first}'" if text else f"hold {type(first).__name__}"
        )
    kind = np.float64 if array.dtype.kind == "f" else np.int64
    return torch.from_numpy(array.astype(kind))


def _stacked(values: list[Any] | tuple[Any, ...], name: str) -> Tensor:
    try:
        return torch.stack([torch.as_tensor(value) for value in values])
    except (RuntimeError, TypeError, ValueError) as error:
        raise _refusal(name, "differ in length between images, as for detection") from error


def _from_one_hot(rows: Tensor, name: str) -> Tensor:
    ones = rows == 1
    count = ones.sum(1)
    binary = bool((ones | (rows == 0)).all())
    if binary and bool((count == 1).all()):
        return ones.to(torch.uint8).argmax(1)
    if binary:
        other = next(ones for ones in count.tolist() if ones != 1)
        raise _refusal(name, f"have {other} ones in a row of {rows.shape[1]} (multi-label)")
    if bool((rows >= 0).all()) and bool(((rows.sum(1) - 1).abs() < 0.01).all()):
        raise _refusal(name, "are soft labels (label smoothing, mixup or cutmix)")
    raise _refusal(name, f"are rows of {rows.shape[1]} numbers, as for regression or boxes")


def _refusal(name: str, what: str) -> DataError:
    return DataError(
        f"{name} {what}, but must be one class per image: give a whole number, counted from 0 in"
        " the order of the teacher's outputs, or a one-hot row."
    )
