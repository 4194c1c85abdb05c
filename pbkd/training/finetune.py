"""Training of a whole network: a student's fine-tuning, or a teacher from scratch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from pbkd.data.augmentation import WHOLE
from pbkd.data.batching import shuffled_batches, steps_per_epoch
from pbkd.models.accuracy import accuracy, share_correct
from pbkd.training.best_state import BestState, copy_state, resume, write_finished, write_progress
from pbkd.training.checkpoint import is_checkpoint_due
from pbkd.training.learner import new_learner
from pbkd.training.shared_scoring import predict_together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor, nn

    from pbkd.data.datasets import Dataset, Split
    from pbkd.data.normalization import Normalization
    from pbkd.training.applied_loss import AppliedLoss
    from pbkd.training.checkpoint import CheckpointStore
    from pbkd.training.learner import Learner
    from pbkd.training.optimisation import Optimisation
    from pbkd.training.replicas import ReplicaGroup
    from pbkd.training.throughput import Pace

    _Objective = Callable[[Learner, Tensor, Tensor, int], Tensor]
    """Maps a network in training, its images and labels, and the epoch to a loss."""


__all__ = ["TrainingHooks", "TrainingSettings", "train_network"]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Hyperparameters of `train_network`.

    Attributes:
        epochs: Passes over the training split.
        optimisation: Optimiser, learning rate and its schedule, weight decay.
        batch_size: Images per step.
        seed: What the order of images and their augmentation depend on.
        loss: The loss between the network's logits and the teacher's; None without a teacher, where
            it is cross-entropy with the labels.
        dtype: What the network computes in, under autocast.
        replicas: The workers that share every batch; None if this process trains alone.
    """

    epochs: int
    optimisation: Optimisation
    batch_size: int
    seed: int
    loss: AppliedLoss | None = None
    dtype: torch.dtype = torch.float32
    replicas: ReplicaGroup | None = None


@dataclass(frozen=True)
class TrainingHooks:
    """Where `train_network` reports progress and keeps its state.

    Attributes:
        epoch_finished: Gets the epoch, from 0, its mean loss and its validation score.
        checkpoints: Where checkpoints go, and from where training resumes; None for nowhere.
        writes: Whether this process writes them.
        start_pace: Gets the first epoch and the steps per epoch; returns a function through which
            the batches of every epoch pass.
        initial_score: The network's validation score before the first epoch; None to measure it.
    """

    epoch_finished: Callable[[int, float, float], None] = lambda _epoch, _loss, _score: None
    checkpoints: CheckpointStore | None = None
    writes: bool = True
    start_pace: Callable[[int, int], Pace] = lambda _epoch, _steps: iter
    initial_score: float | None = None

    def keep(self, best: BestState, learner: Learner | None = None) -> None:
        """Write a checkpoint, if this process writes any; without `learner` the final one."""
        if self.checkpoints is None or not self.writes:
            return
        if learner is None:
            write_finished(self.checkpoints, best)
        else:
            write_progress(self.checkpoints, learner, best)


def train_network(
    network: nn.Module,
    data: Dataset,
    normalization: Normalization,
    settings: TrainingSettings,
    *,
    teacher: nn.Module | None = None,
    hooks: TrainingHooks | None = None,
) -> float:
    """Train a network in place, and leave it as it was after its best epoch.

    Epochs are compared by validation score; the state before the first epoch competes too.

    Args:
        network: Maps (B, C, H, W) to (B, classes); it is on the device to train on.
        data: Training and validation split.
        normalization: How the network's images are normalised.
        settings: Hyperparameters.
        teacher: Gives the targets of the loss, from the same normalised images; None to train on
            labels alone.
        hooks: Progress reports and checkpoints.

    Returns:
        The best validation score.
    """
    hooks = hooks or TrainingHooks()
    device, replicas = next(network.parameters()).device, settings.replicas
    steps = steps_per_epoch(data.train, settings.batch_size)
    learner = _learner(network, settings, settings.epochs * steps)
    objective = _objective(settings.loss, teacher, replicas, labelled=data.labelled)
    validate = partial(_validate, network, data.validation, normalization, replicas)
    best = _first_state(learner, hooks, validate)
    pace = hooks.start_pace(best.epochs, steps)
    for epoch in range(best.epochs, settings.epochs):
        network.train()
        epoch_batches = (
            (normalization.apply(images, device), labels.to(device))
            for images, labels in pace(_epoch_batches(data, settings, epoch))
        )
        loss = _train_epoch(learner, epoch_batches, objective, epoch, replicas) / steps
        score = validate()
        hooks.epoch_finished(epoch, loss, score)
        if score > best.score:
            best.score, best.state = score, copy_state(network)
        best.epochs = epoch + 1
        if is_checkpoint_due(best.epochs, settings.epochs, steps):
            hooks.keep(best, learner)
    hooks.keep(best)
    network.eval().load_state_dict(best.state)
    return best.score


def _learner(network: nn.Module, settings: TrainingSettings, steps: int) -> Learner:
    if settings.replicas is not None:
        settings.replicas.share_norms(network)
    return new_learner(network, settings.optimisation, steps=steps, dtype=settings.dtype)


def _validate(
    network: nn.Module,
    split: Split,
    normalization: Normalization,
    replicas: ReplicaGroup | None,
) -> float:
    device = next(network.parameters()).device
    if replicas is None:
        return accuracy(network, split, normalization, device=device)
    return share_correct(predict_together(network, split, normalization, replicas), split)


def _epoch_batches(
    data: Dataset, settings: TrainingSettings, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    part = settings.replicas.part if settings.replicas else WHOLE
    return shuffled_batches(
        data.train,
        settings.batch_size,
        seed=settings.seed,
        epoch=epoch,
        augmentation=replace(data.augmentation, part=part),
        phase="fit",
    )


def _train_epoch(
    learner: Learner,
    epoch_batches: Iterable[tuple[Tensor, Tensor]],
    objective: _Objective,
    epoch: int,
    replicas: ReplicaGroup | None,
) -> float:
    """Train on normalised images and labels; return the sum of the losses."""
    total = torch.zeros((), device=next(learner.replacement.parameters()).device)
    for x, labels in epoch_batches:
        loss = objective(learner, x, labels, epoch)
        learner.optimiser.zero_grad(set_to_none=True)
        learner.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if replicas is not None:
            replicas.add_gradients(learner.replacement)
        learner.step()
        total += loss.detach()
    return float(total if replicas is None else replicas.sum(total))


def _objective(
    loss: AppliedLoss | None,
    teacher: nn.Module | None,
    replicas: ReplicaGroup | None,
    *,
    labelled: bool,
) -> _Objective:
    """Return what is minimised: the loss to the teacher, or cross-entropy with the labels."""
    if teacher is None:
        return _cross_entropy
    assert loss is not None, "a teacher's outputs are learnt by a loss"

    def distance(learner: Learner, x: Tensor, labels: Tensor, epoch: int) -> Tensor:
        known = labels if labelled else None
        logits, features = loss.forward(learner.replacement, learner.forward, x)
        with torch.no_grad():
            target, theirs = loss.teach(x) if features else (teacher(x), {})
        context = loss.context(
            x, epoch=epoch, features=features, teacher_features=theirs, labels=known
        )
        if replicas is not None:
            return replicas.loss(loss, logits.float(), target.float(), context)
        return loss(logits.float(), target.float(), context)

    return distance


def _cross_entropy(learner: Learner, x: Tensor, labels: Tensor, _epoch: int) -> Tensor:
    return functional.cross_entropy(learner.forward(x).float(), labels)


def _first_state(
    learner: Learner, hooks: TrainingHooks, validate: Callable[[], float]
) -> BestState:
    """Resume from a checkpoint; without any, score the network as it is."""
    resumed = hooks.checkpoints and resume(hooks.checkpoints, learner)
    if resumed:
        return resumed
    score = validate() if hooks.initial_score is None else hooks.initial_score
    return BestState(0, score, copy_state(learner.replacement))
