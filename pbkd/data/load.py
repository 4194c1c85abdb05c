"""What host and workers need before they start: teacher, data, chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbkd.config.options import option_types, typed_options
from pbkd.data.sources import SOURCES
from pbkd.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from pbkd.data.datasets import Dataset


__all__ = ["load_data", "pretrained_cfg", "with_preprocessing"]


def load_data(choice: Mapping[str, Any]) -> Dataset:
    """Load the data source that a `data` choice names."""
    name = choice["name"]
    if name not in SOURCES:
        raise ConfigError(f"unknown data source '{name}'.{did_you_mean(name, SOURCES)}")
    given = {key: value for key, value in choice.items() if key != "name"}
    source = SOURCES[name](**typed_options(SOURCES[name], given, where="data"))
    return source.load()


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
