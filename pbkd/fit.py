"""Train a whole network: a student's fine-tuning, or a zoo teacher from scratch."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from pbkd.data import batches, normalise, steps_per_epoch
from pbkd.distill import warmup_cosine
from pbkd.loss import soft_target_loss
from pbkd.measure import accuracy
from pbkd.precision import autocast

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbkd.data import Dataset

__all__ = ["Recipe", "fit"]


@dataclass(frozen=True)
class Recipe:
    """How `fit` trains: AdamW with a warm-up and a cosine over all steps.

    With a teacher, the loss is `soft_weight` times the soft-target loss at `temperature` plus the
    rest times cross-entropy; without one it is cross-entropy.
    """

    epochs: int
    lr: float
    weight_decay: float
    batch_size: int
    seed: int
    temperature: float = 4.0
    soft_weight: float = 0.9


def fit(
    network: nn.Module,
    data: Dataset,
    recipe: Recipe,
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    teacher: nn.Module | None = None,
    dtype: torch.dtype = torch.float32,
    epoch_finished: Callable[[int, float, float], None] = lambda _epoch, _loss, _accuracy: None,
) -> float:
    """Train in place; leave the network as it was at the epoch that scored best.

    `dtype` is what the network computes in, under autocast; `teacher` may use the same. Scores are
    accuracies on the validation split; the state before the first epoch competes too.
    `epoch_finished` gets the epoch, its mean loss and its score. Returns the best score.
    """
    device = next(network.parameters()).device
    optimiser = torch.optim.AdamW(
        network.parameters(),
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
    steps = steps_per_epoch(data.train, recipe.batch_size)
    rate = warmup_cosine(optimiser, recipe.epochs * steps)
    forward = autocast(network, dtype)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
    best = accuracy(network, data.validation, mean=mean, std=std, device=device)
    best_state = copy.deepcopy(network.state_dict())
    for epoch in range(recipe.epochs):
        network.train()
        total = torch.zeros((), device=device)
        for images, labels in batches(
            data.train,
            recipe.batch_size,
            seed=recipe.seed,
            epoch=epoch,
            augmentation=data.augment,
            phase="fit",
        ):
            x = normalise(images, mean, std, device)
            loss = _loss(forward(x).float(), labels.to(device), x, teacher, recipe)
            optimiser.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimiser)
            scaler.update()
            rate.step()
            total += loss.detach()
        score = accuracy(network, data.validation, mean=mean, std=std, device=device)
        epoch_finished(epoch, float(total) / steps, score)
        if score > best:
            best, best_state = score, copy.deepcopy(network.state_dict())
    network.load_state_dict(best_state)
    network.eval()
    return best


def _loss(
    logits: Tensor, labels: Tensor, x: Tensor, teacher: nn.Module | None, recipe: Recipe
) -> Tensor:
    hard = functional.cross_entropy(logits, labels)
    if teacher is None:
        return hard
    with torch.no_grad():
        target = teacher(x).float()
    soft = soft_target_loss(logits, target, recipe.temperature)
    return recipe.soft_weight * soft + (1 - recipe.soft_weight) * hard
