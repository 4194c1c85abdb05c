"""Top-1 accuracy and predicted classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pbkd.data.augmentation import WHOLE
from pbkd.data.batching import sequential_images
from pbkd.models.evaluation_mode import evaluation_mode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn

    from pbkd.data.datasets import Split
    from pbkd.data.normalization import Normalization


__all__ = ["SCORING_BATCH", "accuracy", "classes_of", "predict_classes", "share_correct"]

SCORING_BATCH = 256
"""Images per forward pass."""


def accuracy(
    model: nn.Module,
    split: Split,
    normalization: Normalization,
    *,
    device: torch.device | str,
    batch_size: int = SCORING_BATCH,
) -> float:
    """Compute the top-1 accuracy of a network on a split.

    Args:
        model: A network on `device` that maps images (B, C, H, W) to logits (B, classes). It runs
            in evaluation mode and gets its own mode back.
        split: Images and labels.
        normalization: How the network's images are normalised.
        device: Where the network is.
        batch_size: Images per forward pass.

    Returns:
        The share of correct images, in [0, 1].
    """
    predicted = predict_classes(model, split, normalization, device=device, batch_size=batch_size)
    return share_correct(predicted, split)


def share_correct(predicted: Tensor, split: Split) -> float:
    """Return the share of a split's labels, in [0, 1], that equal the predicted classes."""
    return int((predicted == split.labels).sum()) / len(split)


def predict_classes(
    model: nn.Module,
    split: Split,
    normalization: Normalization,
    *,
    device: torch.device | str,
    batch_size: int = SCORING_BATCH,
    part: slice = WHOLE,
) -> Tensor:
    """Predict the class of every image, with the arguments of `accuracy`.

    Args:
        part: The batches to predict.

    Returns:
        The index of each image's largest logit: int64 (images,), on the CPU.
    """
    batches = sequential_images(split, batch_size, part)
    return classes_of(model, (normalization.apply(images, device) for images in batches))


def classes_of(model: nn.Module, batches: Iterable[Tensor]) -> Tensor:
    """Predict the class of every image of normalised batches on the network's device.

    Returns:
        The index of each image's largest logit: int64 (images,), on the CPU.
    """
    with evaluation_mode(model):
        classes = [model(batch).argmax(1) for batch in batches]
    return torch.cat(classes).cpu() if classes else torch.zeros(0, dtype=torch.int64)
