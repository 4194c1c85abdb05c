"""Train a whole network: a student's fine-tuning, or a zoo teacher from scratch."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from pbkd.data.batching import normalise, shuffled_batches, steps_per_epoch
from pbkd.models.metrics import accuracy
from pbkd.training.checkpoint import is_checkpoint_due, restore, snapshot, tensors_below
from pbkd.training.learner import trainee

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from pbkd.data.datasets import Dataset
    from pbkd.training.checkpoint import CheckpointStore
    from pbkd.training.learner import Trainee
    from pbkd.training.throughput import Pace


__all__ = ["Recipe", "fit", "soft_target_loss"]


@dataclass(frozen=True)
class Recipe:
    """How `fit` trains: an optimiser with a warm-up and a cosine over all steps.

    With a teacher, the loss is `soft_weight` times the soft-target loss at `temperature` plus the
    rest times cross-entropy with the labels, which 1 has no use for; without one it is
    cross-entropy.
    """

    epochs: int
    lr: float
    weight_decay: float
    batch_size: int
    seed: int
    temperature: float = 4.0
    soft_weight: float = 0.9
    optimiser: str = "adamw"


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
    keep: CheckpointStore | None = None,
    paced: Callable[[int, int], Pace] = lambda _epoch, _steps: iter,
) -> float:
    """Train in place; leave the network as it was at the epoch that scored best.

    `dtype` is what the network computes in, under autocast; `teacher` may use the same. Scores are
    accuracies on the validation split; the state before the first epoch competes too.
    `epoch_finished` gets the epoch, its mean loss and its score. Checkpoints go to `keep`, and
    training goes on from the newest that is there. `paced` gets the first epoch and the steps of
    each, and returns what every epoch's batches go through. Returns the best score.
    """
    device = next(network.parameters()).device
    steps = steps_per_epoch(data.train, recipe.batch_size)
    training = trainee(
        network,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        steps=recipe.epochs * steps,
        dtype=dtype,
        optimiser=recipe.optimiser,
    )
    resumed = _resume(keep, training) if keep else None
    if resumed:
        first, best, best_state = resumed
    else:
        first, best = 0, accuracy(network, data.validation, mean=mean, std=std, device=device)
        best_state = copy.deepcopy(network.state_dict())
    pace = paced(first, steps)
    for epoch in range(first, recipe.epochs):
        network.train()
        total = torch.zeros((), device=device)
        epoch_batches = shuffled_batches(
            data.train,
            recipe.batch_size,
            seed=recipe.seed,
            epoch=epoch,
            augmentation=data.augmentation,
            phase="fit",
        )
        for images, labels in pace(epoch_batches):
            x = normalise(images, mean, std, device)
            loss = _loss(training.forward(x).float(), labels.to(device), x, teacher, recipe)
            training.optimiser.zero_grad(set_to_none=True)
            training.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            training.step()
            total += loss.detach()
        score = accuracy(network, data.validation, mean=mean, std=std, device=device)
        epoch_finished(epoch, float(total) / steps, score)
        if score > best:
            best, best_state = score, copy.deepcopy(network.state_dict())
        if keep and is_checkpoint_due(epoch + 1, recipe.epochs, steps):
            _keep(keep, epoch + 1, training, best, best_state)
    network.load_state_dict(best_state)
    network.eval()
    return best


def _keep(
    shelf: CheckpointStore,
    epoch: int,
    training: Trainee,
    best: float,
    best_state: dict[str, Tensor],
) -> None:
    tensors, facts = snapshot(training)
    tensors |= {f"best.{name}": tensor for name, tensor in best_state.items()}
    shelf.write(epoch, tensors, {**facts, "best": best})


def _resume(
    shelf: CheckpointStore, training: Trainee
) -> tuple[int, float, dict[str, Tensor]] | None:
    """Restore the newest checkpoint; return its epoch, the best score so far and its state."""
    for epoch in shelf.readable():
        tensors, facts = shelf.read(epoch)
        restore(tensors, facts, training)
        return epoch, facts["best"], tensors_below(tensors, "best.")
    return None


def _loss(
    logits: Tensor, labels: Tensor, x: Tensor, teacher: nn.Module | None, recipe: Recipe
) -> Tensor:
    if teacher is None:
        return functional.cross_entropy(logits, labels)
    with torch.no_grad():
        target = teacher(x).float()
    soft = soft_target_loss(logits, target, recipe.temperature)
    if recipe.soft_weight == 1:
        return soft
    hard = functional.cross_entropy(logits, labels)
    return recipe.soft_weight * soft + (1 - recipe.soft_weight) * hard


def soft_target_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of softened logits, times the squared temperature.

    Hinton et al. 2015, arXiv 1503.02531. Both logits are (batch, classes).
    """
    return (
        functional.kl_div(
            functional.log_softmax(student / temperature, dim=1),
            functional.log_softmax(teacher / temperature, dim=1),
            reduction="batchmean",
            log_target=True,
        )
        * temperature**2
    )
