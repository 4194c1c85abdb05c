"""Training of a whole network: a student's fine-tuning, or a teacher from scratch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from pbkd.data.augmentation import WHOLE
from pbkd.data.batching import shuffled_batches, steps_per_epoch
from pbkd.models.accuracy import accuracy, share_correct
from pbkd.training.best_state import BestState, copy_state, resume
from pbkd.training.checkpoint import is_checkpoint_due
from pbkd.training.learner import new_learner
from pbkd.training.shared_scoring import predict_together
from pbkd.training.training_hooks import TrainingHooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor, nn

    from pbkd.data.datasets import Dataset, Split
    from pbkd.data.normalization import Normalization
    from pbkd.training.applied_loss import AppliedLoss
    from pbkd.training.learner import Learner
    from pbkd.training.loss_watch import LossWatch
    from pbkd.training.optimisation import Optimisation
    from pbkd.training.replicas import ReplicaGroup

    _Objective = Callable[[Learner, Tensor, Tensor, int], Tensor]
    """Maps a network in training, its images and labels, and the epoch to a loss."""


__all__ = ["TrainingSettings", "train_network", "trial_step"]

_LOWER = 0.1  # the factor on the learning rate after an explosion
_FALL = 0.3  # of the validation score
_TRIAL_STEPS = 100  # more than are timed


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


def train_network(
    network: nn.Module,
    data: Dataset,
    normalization: Normalization,
    settings: TrainingSettings,
    *,
    teacher: nn.Module | None = None,
    hooks: TrainingHooks | None = None,
) -> BestState:
    """Train a network in place, and leave it as it was after its best epoch.

    Epochs are compared by validation score; the state before the first epoch competes too.

    Args:
        network: Maps (B, C, H, W) to (B, classes); it is on the device to train on.
        data: Training and validation split.
        normalization: How the network's images are normalised.
        settings: Hyperparameters.
        teacher: Gives the targets of the loss, from the same images; None to train on labels alone.
        hooks: Progress reports and checkpoints.

    Returns:
        The best state, its validation score, and how far the learning rate was lowered.
    """
    hooks = hooks or TrainingHooks()
    replicas = settings.replicas
    steps = steps_per_epoch(data.train, settings.batch_size)
    learner = _learner(network, settings, settings.epochs * steps)
    objective = _objective(settings.loss, teacher, replicas, labelled=data.labelled)
    validate = partial(_validate, network, data.validation, normalization, replicas)
    best = _first_state(learner, hooks, validate)
    pace = hooks.start_pace(best.epochs, steps)
    while best.epochs < settings.epochs:
        _begin_epoch(network, settings, best.epochs)
        batches = pace(_epoch_batches(data, settings, best.epochs, normalization, network))
        watch = hooks.watch(best, steps)
        total, how = _train_epoch(learner, batches, objective, best.epochs, replicas, watch)
        best.start = watch.start if watch else None
        score = best.score if how else validate()
        if watch and (how := how or _explosion(total / steps, score, best.score)):
            learner = _start_again(network, settings, best, steps)
            pace = hooks.start_again(how, best, learner, steps)
            continue
        hooks.epoch_finished(best.epochs, total / steps, score)
        best.see_epoch(score, network)
        if is_checkpoint_due(best.epochs, settings.epochs, steps):
            hooks.keep(best, learner)
    hooks.keep(best)
    network.eval().load_state_dict(best.state)
    return best


def _begin_epoch(network: nn.Module, settings: TrainingSettings, epoch: int) -> None:
    network.train()
    if settings.replicas is not None:
        settings.replicas.draw_apart(settings.seed, "fit", epoch)


def _explosion(loss: float, score: float, best: float) -> str | None:
    """Say in words how an epoch has ruined the network, if it has: by 30 points of its score."""
    if not math.isfinite(loss):
        return f"its mean loss is {loss}"
    if score < best - _FALL:
        return f"its validation score fell from {100 * best:.2f} to {100 * score:.2f} %"
    return None


def _start_again(
    network: nn.Module, settings: TrainingSettings, best: BestState, steps: int
) -> Learner:
    """Return to the best state, at the present place in the schedule of a lower rate."""
    best.rate *= _LOWER
    network.load_state_dict(best.state)
    rate = replace(settings.optimisation, lr=settings.optimisation.lr * best.rate)
    all_steps = settings.epochs * steps
    learner = _learner(network, replace(settings, optimisation=rate), all_steps)
    learner.skip_to(best.epochs * steps, all_steps)
    return learner


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
    data: Dataset,
    settings: TrainingSettings,
    epoch: int,
    normalization: Normalization,
    network: nn.Module,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images and labels as the network takes them; of replicas only this one's rows."""
    device = next(network.parameters()).device
    part = settings.replicas.part if settings.replicas else WHOLE
    batches = shuffled_batches(
        data.train,
        settings.batch_size,
        seed=settings.seed,
        epoch=epoch,
        augmentation=replace(data.augmentation, part=part),
        phase="fit",
    )
    for images, labels in batches:
        yield normalization.apply(images, device), labels.to(device)


def _train_epoch(
    learner: Learner,
    epoch_batches: Iterable[tuple[Tensor, Tensor]],
    objective: _Objective,
    epoch: int,
    replicas: ReplicaGroup | None,
    watch: LossWatch | None,
) -> tuple[float, str | None]:
    """Train on normalised images and labels.

    Returns:
        The sum of the losses, and how the loss rose if it exploded, which ends the epoch.
    """
    total = torch.zeros((), device=next(learner.replacement.parameters()).device)
    for x, labels in epoch_batches:
        loss = objective(learner, x, labels, epoch)
        _update(learner, loss, replicas)
        total += loss.detach()
        if watch is not None and (how := watch.see(loss.detach(), replicas)):
            return math.nan, how
    return float(total if replicas is None else replicas.sum(total)), None


def _update(learner: Learner, loss: Tensor, replicas: ReplicaGroup | None) -> None:
    """Take an optimiser step."""
    learner.optimiser.zero_grad(set_to_none=True)
    learner.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    if replicas is not None:
        replicas.add_gradients(learner.replacement)
    learner.step()


def trial_step(
    network: nn.Module,
    settings: TrainingSettings,
    teacher: nn.Module,
    images: Tensor,
    labels: Tensor | None,
) -> Callable[[int], None]:
    """Return a function that takes a step on the first images of a batch, to be timed.

    Args:
        network: A network that nothing else uses.
        settings: Hyperparameters.
        teacher: Gives the targets of the loss.
        images: A normalised batch, (B, C, H, W).
        labels: Its labels, int64 (B,); None without labels.
    """
    learner = _learner(network.train(), settings, _TRIAL_STEPS)
    objective = _objective(settings.loss, teacher, None, labelled=labels is not None)
    classes = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels

    def step(rows: int) -> None:
        _update(learner, objective(learner, images[:rows], classes[:rows], 0), None)

    return step


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
