"""A few of the digits, for runs that need no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["few_digits"]


def few_digits(folder: Path, training: int = 200, test: int = 100) -> list[str]:
    """Write images and labels to a file in a folder; return the overrides that choose them."""
    import numpy as np  # pytest's process that hands out the tests needs none of these
    import torch
    from pbkd_digits import DigitsSource

    path = folder / f"digits-{training}-{test}.npz"
    if not path.exists():
        data = DigitsSource().load()
        arrays: dict[str, Any] = {}
        for name, split, count in (("train", data.train, training), ("test", data.test, test)):
            arrays[f"y_{name}"] = split.labels[:count].numpy()
            arrays[f"x_{name}"] = split.images(torch.arange(count))[:, 0].numpy()
        np.savez(path, **arrays)
    return ["data.name=npz", f"data.path={path}"]
