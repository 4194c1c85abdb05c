"""Predicted classes of a split, by several workers together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pbkd.models.accuracy import SCORING_BATCH, predict_classes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pbkd.data.datasets import Split
    from pbkd.data.normalization import Normalization
    from pbkd.training.replicas import ReplicaGroup


__all__ = ["predict_together"]


def predict_together(
    network: nn.Module, split: Split, normalization: Normalization, replicas: ReplicaGroup
) -> Tensor:
    """Predict the class of every image; each worker predicts some of the batches.

    One worker would make the same batches, so that the classes are the same bit by bit.

    Args:
        network: The same network in all workers, each on its own device.
        split: The images.
        normalization: How the network's images are normalised.
        replicas: The workers.

    Returns:
        The index of each image's largest logit: int64 (len(split),), on the CPU.
    """
    device = next(network.parameters()).device
    part = replicas.part_of(-(-len(split) // SCORING_BATCH))
    classes = torch.zeros(len(split), dtype=torch.int64)
    if part.start < part.stop:
        mine = predict_classes(network, split, normalization, device=device, part=part)
        start = part.start * SCORING_BATCH
        classes[start : start + len(mine)] = mine
    return replicas.sum(classes.to(device)).cpu()
