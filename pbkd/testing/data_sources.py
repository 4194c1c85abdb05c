"""Conformance tests of sources of data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pbkd.data.returned_data import adopt_data

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.data.datasets import Split

__all__ = ["check_data"]

_ROWS = 8


def check_data(source: Any) -> None:
    """Check that a source loads three splits of images, and the same ones again.

    Workers load the data too, and must get what the host got.

    Args:
        source: The source, or a function without arguments.

    Raises:
        AssertionError: Two calls of `load` give different images, labels or sizes.
        DataError: The data is missing or invalid.
    """
    load = source if callable(source) else source.load
    first, second = (adopt_data(load(), "data", "load") for _ in range(2))
    for name in ("train", "validation", "test"):
        one, other = getattr(first, name), getattr(second, name)
        assert len(one) == len(other), f"load gives another number of {name} images again"
        assert torch.equal(one.labels, other.labels), f"load gives other {name} labels again"
        same = torch.equal(_images(one), _images(other))
        assert same or first.augmentation.external, f"load gives other {name} images again"


def _images(split: Split) -> Tensor:
    """Return the first and last images of a split."""
    rows = range(len(split))
    return split.images(torch.tensor(sorted({*rows[:_ROWS], *rows[-_ROWS:]})))
