"""The preprocessing that a teacher declares, as options of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbkd.config.options import option_types

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from pbkd.plugin.registry import Registry


__all__ = ["CFG", "pretrained_cfg", "with_preprocessing"]

CFG = "the teacher's pretrained_cfg"
"""The origin of values that a network declares."""

_DEFAULTS = {
    "size": "default", "channels": "default", "crop_pct": "whole pictures",
    "interpolation": "default",
}  # fmt: skip
"""The origin of each option of `ImageDecoder` that nobody states."""

_TIMM_KEYS = frozenset(("architecture", "hf_hub_id", "url", "tag"))


def pretrained_cfg(network: nn.Module) -> Mapping[str, Any]:
    """Read the preprocessing that a network declares, in timm's format.

    Args:
        network: The network. timm's networks and the zoo's torchvision networks have the attribute
            `pretrained_cfg`; it is optional.

    Returns:
        The keys `mean`, `std`, `input_size`, `crop_pct` and `interpolation`, or some of them;
        empty without the attribute.
    """
    return getattr(network, "pretrained_cfg", None) or {}


def with_preprocessing(
    choice: Mapping[str, Any], network: nn.Module, registry: Registry, *, own_weights: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """Complete the options of a source of image files with a network's preprocessing.

    Args:
        choice: A data source's `name` and options; explicit options win.
        network: The teacher, see `pretrained_cfg`.
        registry: Where sources are registered.
        own_weights: Whether its weights are the user's. If so, timm's `crop_pct` is not used, which
            is for timm's own weights: such a teacher sees whole pictures.

    Returns:
        The choice with `size`, `channels`, `crop_pct` and `interpolation`, as far as they are
        known, and where each of the four came from. For sources that do not decode image files,
        the unchanged choice and nothing.
    """
    cfg = pretrained_cfg(network)
    source = registry.strategies["data"].get(choice["name"])
    if source is None or "crop_pct" not in option_types(source):
        return dict(choice), {}
    channels, height, _ = cfg.get("input_size") or (None, None, None)
    foreign_crop = own_weights and not _TIMM_KEYS.isdisjoint(cfg)
    preprocessing = {
        "size": height,
        "channels": channels,
        "crop_pct": None if foreign_crop else cfg.get("crop_pct"),
        "interpolation": cfg.get("interpolation"),
    }
    known = {key: value for key, value in preprocessing.items() if value is not None}
    origins = {
        key: f"data.{key}" if key in choice else CFG if key in known else default
        for key, default in _DEFAULTS.items()
    }
    return {**known, **choice}, origins
