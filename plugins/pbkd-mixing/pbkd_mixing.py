"""Mixing of images and labels: mixup and CutMix, as torchvision has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from pbkd import hookimpl
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.protocols import ImageAugmentation

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class _Mixing:
    """A transform of torchvision that mixes each image of a batch with another one.

    Attributes:
        alpha: Parameter of the Beta distribution of the shares; 1: all shares are equally likely.
    """

    name: ClassVar[str]
    transform: ClassVar[str]
    alpha: float = 1.0

    def __post_init__(self) -> None:
        """Raise `ConfigError` if an option is out of range."""
        if not 0 < self.alpha < float("inf"):
            raise ConfigError(f"alpha is {self.alpha}, but must be above 0 and finite.")

    def augment(
        self,
        images: Tensor,
        generator: torch.Generator,  # noqa: ARG002
        labels: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Mix the images of a batch, and their labels by the same shares.

        Args:
            images: Images, uint8 or float32 (B, C, H, W).
            generator: Random generator; torch's global one, which torchvision draws from, is
                seeded from it.
            labels: Labels, float32 (B, classes); None if there are none.

        Returns:
            Images and labels, of the same shapes and types.
        """
        from torchvision.transforms import v2

        count, classes = (len(images), 1) if labels is None else labels.shape
        numbers = torch.zeros(count, dtype=torch.int64) if labels is None else labels.argmax(1)
        mix: Any = getattr(v2, self.transform)(alpha=self.alpha, num_classes=classes)
        mixed, shares = mix(images.to(torch.float32), numbers)
        mixed = mixed.round().to(images.dtype) if images.dtype == torch.uint8 else mixed
        return mixed, None if labels is None else shares


@dataclass(frozen=True)
class Mixup(_Mixing):
    """Blend each image with another one (Zhang et al. 2018, arXiv:1710.09412)."""

    name: ClassVar[str] = "mixup"
    transform: ClassVar[str] = "MixUp"


@dataclass(frozen=True)
class Cutmix(_Mixing):
    """Paste a part of another image into each image (Yun et al. 2019, arXiv:1905.04899)."""

    name: ClassVar[str] = "cutmix"
    transform: ClassVar[str] = "CutMix"


@hookimpl
def register_augmentations() -> list[type[ImageAugmentation]]:
    """Register the augmentations `mixup` and `cutmix`."""
    return [Mixup, Cutmix]
