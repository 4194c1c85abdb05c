"""The augmentation that a configuration chooses, created and tried on some images."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pbkd.data.random_state import kept_random_state
from pbkd.errors import ConfigError, PluginError
from pbkd.plugin.attribution import describe_strategy

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch import Tensor

    from pbkd.data.augmentation import Augmentation
    from pbkd.data.datasets import Dataset
    from pbkd.plugin.registry import Registry


__all__ = ["try_augmentation", "with_augmentation"]

_IMAGES = 4
_SEEDS = 2


def with_augmentation(
    data: Dataset, choice: Mapping[str, Any], data_choice: Mapping[str, Any], registry: Registry
) -> Dataset:
    """Create the augmentation of a data set, and try it on some training images.

    Args:
        data: The data set.
        choice: The configuration's `augmentation`: `source` for what the data set itself says,
            `none`, or the name and options of a registered one.
        data_choice: The configuration's `data`.
        registry: Where augmentations are registered.

    Raises:
        UnknownNameError: There is no such augmentation.
        ConfigError: An option is wrong, or the data has one that would have no effect.
        PluginError: The augmentation breaks its contract.
        DataError: It cannot take these images.
    """
    name, source = choice["name"], data.augmentation
    if name in ("source", "none") and len(choice) > 1:
        option = next(key for key in choice if key != "name")
        raise ConfigError(f"'augmentation.{option}' has no effect with augmentation={name}.")
    chosen = source.choice if name == "source" else choice
    strategy = None if chosen["name"] == "none" else registry.create("augmentation", chosen)
    augmentation = replace(source, choice=chosen, strategy=strategy, classes=data.num_classes)
    if name != "source" and augmentation.mixes:
        first = with_augmentation(data, {"name": "source"}, data_choice, registry)
        augmentation = replace(augmentation, before=first.augmentation)
    elif name != "source":
        _refuse_ignored(name, source.choice.keys() & data_choice.keys() - {"name"})
    if strategy is not None:
        rows = torch.arange(min(_IMAGES, len(data.train)))
        try_augmentation(augmentation, data.train.images(rows), data.train.labels[rows])
    return replace(data, augmentation=augmentation)


def _refuse_ignored(name: str, options: Collection[str]) -> None:
    """Raise `ConfigError` if the data has options that the augmentation `name` replaces."""
    if options:
        raise ConfigError(
            f"'data.{min(options)}' has no effect with augmentation={name}: remove one of the two."
        )


def try_augmentation(augmentation: Augmentation, images: Tensor, labels: Tensor) -> None:
    """Check that an augmentation depends on the generator alone, and modifies nothing.

    Args:
        augmentation: The augmentation, with its strategy.
        images: Images, uint8 or float32 (B, C, H, W).
        labels: Their labels, int64 (B,).

    Raises:
        PluginError: It breaks its contract.
        DataError: It cannot take these images.
    """
    owner = describe_strategy("augmentation", augmentation.strategy)
    for seed in range(_SEEDS):
        results = []
        for state in (1, 2):
            given = images.clone()
            with kept_random_state(None):
                random.seed(state)
                np.random.seed(state)
                generator = torch.Generator().manual_seed(seed)
                results.append(augmentation.augment(given, labels, generator))
            if not torch.equal(given, images):
                raise PluginError(f"{owner} modifies its input: let it augment a copy.")
        if not all(map(torch.equal, *results)):
            raise PluginError(
                f"{owner} gives other images for the same generator: let it draw all random"
                " numbers from the generator, or by torch's functions on the CPU."
            )
