"""A kind of file that may be hostile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Kind", "two_layers"]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: The name of its file.
        make: Writes a whole one to a path.
        read: Reads it, and what is beside it.
        form: `json`, `yaml`, or None if its bytes have no tree.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], None]
    form: str | None = None


def two_layers() -> nn.Sequential:
    """Return the network, always the same, whose weights the files have."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 2), nn.Conv2d(3, 2, 2)).requires_grad_(False)
