"""The settings of a whole network's training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from pbkd.training.applied_loss import AppliedLoss
    from pbkd.training.optimisation import Optimisation
    from pbkd.training.replicas import ReplicaGroup


__all__ = ["TrainingSettings"]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Hyperparameters of `train_network`.

    Attributes:
        epochs: Passes over the training split, with all earlier rounds.
        optimisation: Optimiser, learning rate and its schedule, weight decay.
        batch_size: Images per step.
        seed: What the order of images and their augmentation depend on.
        loss: The loss between the network's logits and the teacher's; None without a teacher, where
            it is cross-entropy with the labels.
        dtype: What the network computes in, under autocast.
        replicas: The workers that share every batch; None if this process trains alone.
        begun: The epochs of earlier rounds, after which the network is trained further, with a
            schedule of the learning rate for the others alone.
    """

    epochs: int
    optimisation: Optimisation
    batch_size: int
    seed: int
    loss: AppliedLoss | None = None
    dtype: torch.dtype = torch.float32
    replicas: ReplicaGroup | None = None
    begun: int = 0
