"""Loading of the data set that a configuration names, with the teacher's preprocessing."""

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
    """Load a data set.

    Args:
        choice: The source's `name` and its options, such as `{"name": "npz", "path": FILE}`.

    Raises:
        ConfigError: There is no such source, or it has no such option.
        DataError: The data set is missing or invalid.
    """
    name = choice["name"]
    if name not in SOURCES:
        raise ConfigError(f"unknown data source '{name}'.{did_you_mean(name, SOURCES)}")
    options = {key: value for key, value in choice.items() if key != "name"}
    source = SOURCES[name](**typed_options(SOURCES[name], options, where="data"))
    return source.load()


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


def with_preprocessing(choice: Mapping[str, Any], network: nn.Module) -> dict[str, Any]:
    """Complete the options of a source of image files with a network's preprocessing.

    Args:
        choice: A data source's `name` and options; explicit options win.
        network: The teacher, see `pretrained_cfg`.

    Returns:
        The choice with `size`, `channels`, `crop_pct` and `interpolation`, as far as they are
        known; unchanged for sources that do not decode image files.
    """
    cfg = pretrained_cfg(network)
    source = SOURCES.get(choice["name"])
    if source is None or "crop_pct" not in option_types(source):
        return dict(choice)
    channels, height, _ = cfg.get("input_size") or (None, None, None)
    preprocessing = {
        "size": height,
        "channels": channels,
        "crop_pct": cfg.get("crop_pct"),
        "interpolation": cfg.get("interpolation"),
    }
    return {**{key: value for key, value in preprocessing.items() if value is not None}, **choice}
