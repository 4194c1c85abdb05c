"""How a network's own weights want their images, where they come with that knowledge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbkd.options import option_types
from pbkd.sources import SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

__all__ = ["pretrained_cfg", "with_preprocessing"]


def pretrained_cfg(network: nn.Module) -> Mapping[str, Any]:
    """Return what timm calls so: mean, std, input size, centre crop, interpolation; or nothing.

    Networks of timm have it as an attribute, those of torchvision's family in the zoo too; a
    network of one's own may.
    """
    return getattr(network, "pretrained_cfg", None) or {}


def with_preprocessing(choice: Mapping[str, Any], network: nn.Module) -> dict[str, Any]:
    """Return a data choice in which a source of pictures has what its options leave open."""
    cfg = pretrained_cfg(network)
    source = SOURCES.get(choice["name"])
    if source is None or "crop_pct" not in option_types(source):
        return dict(choice)
    channels, height, _ = cfg.get("input_size") or (None, None, None)
    wanted = {
        "size": height,
        "channels": channels,
        "crop_pct": cfg.get("crop_pct"),
        "interpolation": cfg.get("interpolation"),
    }
    return {**{key: value for key, value in wanted.items() if value is not None}, **choice}
