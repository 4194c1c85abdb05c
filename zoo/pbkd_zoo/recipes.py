"""Recipes: configurations that compress the models of this package well, by rule."""

from __future__ import annotations

from typing import Any

__all__ = ["digits_recipe", "resnet_recipe", "vgg_recipe"]

_SHARE_OF_20_LAYERS = 0.36
_VGG_SHARES = 0.25, 0.10
_VGG_BUDGET = 0.2


def digits_recipe(name: str) -> dict[str, Any]:
    """Return the recipe of a teacher of the handwritten digits: pbkd's defaults."""
    return {"teacher": {"name": name}, "data": {"name": "digits"}}


def resnet_recipe(name: str, layers: int) -> dict[str, Any]:
    """Return the recipe of a CIFAR ResNet.

    A deeper network has more to spare: 20 layers keep 0.35 of the MACs, 56 layers 0.30, and those
    between and beyond as a power of the depth. The number of epochs follows from the student's
    parameters and the images (`pbkd.planning.training_length`).

    Args:
        name: The model.
        layers: Its weighted layers.
    """
    share = round(_SHARE_OF_20_LAYERS * (20 / layers) ** (1 / 7), 3)
    return {**_cifar_recipe(name, "resnet"), "builder": _low_rank(share)}


def vgg_recipe(name: str) -> dict[str, Any]:
    """Return the recipe of a VGG for small images, which keeps a fifth of the MACs.

    Its last stages can spare far more than its first ones, so that each stage is trained with
    two shares.
    """
    share, *others = _VGG_SHARES
    return {
        **_cifar_recipe(name, "vgg"),
        "builder": _low_rank(share),
        "candidates": [_low_rank(other) for other in others],
        "target": {"macs": _VGG_BUDGET},
    }


def _cifar_recipe(name: str, partitioner: str) -> dict[str, Any]:
    return {
        "teacher": {"name": name},
        "data": {"name": "npz", "crop": 4, "flip": True},
        "partitioner": {"name": partitioner, "granularity": "stage"},
    }


def _low_rank(share: float) -> dict[str, Any]:
    return {"name": "low-rank", "share": share}
