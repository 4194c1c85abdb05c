"""The model collections of torchvision and timm, as families of variants.

Both libraries are imported on first use, because importing them takes seconds.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from torch import nn  # noqa: TC002 - typing.get_type_hints resolves the builders' annotations

from pbkd.errors import ConfigError, UnknownNameError, WeightsError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["build_timm", "build_torchvision", "timm_variants", "torchvision_variants"]

_NEAREST = 8


def torchvision_variants() -> list[str]:
    """Return the names of torchvision's classification networks."""
    from torchvision import models

    names: list[str] = models.list_models(module=models)
    return names


def timm_variants() -> list[str]:
    """Return the names of timm's architectures."""
    import timm

    names: list[str] = timm.list_models()
    return names


def build_torchvision(
    *, variant: str, num_classes: int = 1000, pretrained: bool = False
) -> nn.Module:
    """Build a network of torchvision.

    Args:
        variant: Name of the network.
        num_classes: Number of classes.
        pretrained: Whether to load its best (`DEFAULT`) weights.

    Raises:
        UnknownNameError: If torchvision has no such network.
        ConfigError: If `num_classes` does not match the pretrained weights.
        WeightsError: If the weights cannot be downloaded.
    """
    from torchvision import models

    _check_variant("torchvision", variant, torchvision_variants())
    weights = models.get_model_weights(variant).DEFAULT
    if not pretrained:
        network: nn.Module = models.get_model(variant, weights=None, num_classes=num_classes)
        return _with_cfg(network, weights, crop=False)
    if num_classes != len(weights.meta["categories"]):
        raise ConfigError(
            f"the pretrained weights of torchvision:{variant} have"
            f" {len(weights.meta['categories'])} classes, so num_classes cannot be {num_classes}."
        )
    try:
        network = models.get_model(variant, weights=weights)
    except (OSError, RuntimeError) as error:
        raise _no_weights("torchvision", variant, error) from error
    return _with_cfg(network, weights, crop=True)


def _with_cfg(network: nn.Module, weights: Any, *, crop: bool) -> nn.Module:
    """Set the preprocessing of the weights as the attribute `pretrained_cfg`, as timm does.

    Other weights, for which there is no `crop`, get whole pictures.
    """
    transforms = weights.transforms()
    (size,), (shorter,) = transforms.crop_size, transforms.resize_size
    network.pretrained_cfg = {  # type: ignore[assignment]
        "input_size": (len(transforms.mean), size, size),
        **({"crop_pct": size / shorter} if crop else {}),
        "interpolation": transforms.interpolation.value,
        "mean": tuple(transforms.mean),
        "std": tuple(transforms.std),
    }
    return network


def build_timm(
    *, variant: str, num_classes: int = 1000, in_channels: int = 3, pretrained: bool = False
) -> nn.Module:
    """Build a network of timm.

    Args:
        variant: Name of the network, optionally with the tag of its weights, as in
            `resnet50.a1_in1k`.
        num_classes: Number of classes; if it differs from the weights', timm initialises the
            classifier at random.
        in_channels: Channels of the images; if they differ from the weights', timm adapts the first
            convolution.
        pretrained: Whether to load pretrained weights.

    Raises:
        UnknownNameError: If timm has no such network.
        WeightsError: If the weights cannot be downloaded.
    """
    import timm

    known = timm_variants()
    if "." in variant:
        known += timm.list_models(pretrained=True)
    _check_variant("timm", variant, known)
    try:
        network: nn.Module = timm.create_model(
            variant, pretrained=pretrained, num_classes=num_classes, in_chans=in_channels
        )
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise _no_weights("timm", variant, error) from error
    return network


def _check_variant(family: str, variant: str, known: Sequence[str]) -> None:
    """Raise `UnknownNameError` with the closest names unless `variant` is known."""
    if variant in known:
        return
    nearest = difflib.get_close_matches(variant, known, n=_NEAREST, cutoff=0.0)
    raise UnknownNameError(
        f"{family} has no model '{variant}' among its {len(known)}, of which only the nearest are"
        f" listed here.{did_you_mean(variant, nearest)}"
    )


def _no_weights(family: str, variant: str, error: Exception) -> WeightsError:
    reason = " ".join(str(error).split()).rstrip(".")
    return WeightsError(f"the pretrained weights of {family}:{variant} cannot be loaded: {reason}.")
