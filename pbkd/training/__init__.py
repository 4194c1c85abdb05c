"""Training of blocks and networks. The exported names are the interface for losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pbkd.training.soft_targets import soft_target_loss

__all__ = ["soft_target_loss"]

__getattr__ = lazy_exports(__name__, {"soft_target_loss": "pbkd.training.soft_targets"})
