"""Training of whole networks: students' fine-tuning, or a teacher from scratch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pbkd.data.augmentation import WHOLE
from pbkd.data.batching import shuffled_batches
from pbkd.training.learner import new_learner
from pbkd.training.lesson import Lesson, objective
from pbkd.training.trainee import NetworkTraining, Trainee, take_step
from pbkd.training.training_hooks import TrainingHooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor, nn

    from pbkd.data.datasets import Dataset
    from pbkd.data.normalization import Normalization
    from pbkd.training.best_state import BestState
    from pbkd.training.training_settings import TrainingSettings


__all__ = ["NetworkTraining", "train_network", "train_together", "trial_step"]

_TRIAL_STEPS = 100  # more than are timed


def train_network(
    network: nn.Module,
    data: Dataset,
    normalization: Normalization,
    settings: TrainingSettings,
    *,
    teacher: nn.Module | None = None,
    hooks: TrainingHooks | None = None,
) -> BestState:
    """Train a network in place, and leave it as it was after the epoch that is kept.

    `BestState.see_epoch` says which that is; the state before the first epoch competes too.

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
    training = NetworkTraining(network, settings, hooks or TrainingHooks())
    return train_together([training], data, normalization, teacher=teacher)[0]


def train_together(
    trainings: Sequence[NetworkTraining],
    data: Dataset,
    normalization: Normalization,
    *,
    teacher: nn.Module | None = None,
) -> list[BestState]:
    """Train networks on the same batches, with one pass of the teacher for each batch.

    Each becomes what `train_network` makes of it alone, bit by bit. One that repeats an epoch, or
    is resumed at an earlier one, is trained alone until it has caught up.

    Args:
        trainings: The networks, with the same `batch_size`, `seed` and `replicas`.
        data: As for `train_network`.
        normalization: As for `train_network`.
        teacher: As for `train_network`.

    Returns:
        The best state of each network.
    """
    all_trainees = [Trainee(training, data, normalization, teacher) for training in trainings]
    while waiting := [trainee for trainee in all_trainees if not trainee.ends()]:
        epoch = min(trainee.best.epochs for trainee in waiting)
        group = [trainee for trainee in waiting if trainee.best.epochs == epoch]
        first = group[0].training
        batches = _epoch_batches(data, first.settings, epoch, normalization, first.network)
        _train_epoch(group, batches, teacher)
    return [trainee.best for trainee in all_trainees]


def _train_epoch(
    group: Sequence[Trainee], batches: Iterable[tuple[Tensor, Tensor]], teacher: nn.Module | None
) -> None:
    """Train networks for an epoch, on normalised images and labels."""
    for trainee in group:
        batches = trainee.begin_epoch(batches)
    learning = group
    for x, labels in batches:
        lesson = Lesson(x, labels, teacher)
        learning = [trainee for trainee in learning if trainee.learn(lesson)]
        if not learning:
            break
    for trainee in group:
        trainee.end_epoch()


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
        yield normalization.apply(images, device), labels.to(device, non_blocking=True)


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
    steps, dtype = _TRIAL_STEPS, settings.dtype
    learner = new_learner(network, settings.optimisation, steps=steps, dtype=dtype)
    loss = objective(settings, is_taught=True, labelled=labels is not None)
    classes = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels

    def step(rows: int) -> None:
        lesson = Lesson(images[:rows], classes[:rows], teacher)
        take_step(learner, loss(learner, lesson, 0), None)

    return step
