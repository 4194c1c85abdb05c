"""A whole network in training: its steps, its epochs, its best state."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from pbkd.data.batching import steps_per_epoch
from pbkd.models.accuracy import predict_classes, share_correct
from pbkd.training.best_state import BestState, copy_state, resume
from pbkd.training.checkpoint import is_checkpoint_due
from pbkd.training.learner import new_learner
from pbkd.training.lesson import objective
from pbkd.training.random_stream import RandomStream
from pbkd.training.shared_scoring import predict_together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor, nn

    from pbkd.data.datasets import Dataset, Split
    from pbkd.data.normalization import Normalization
    from pbkd.training.learner import Learner
    from pbkd.training.lesson import Lesson
    from pbkd.training.replicas import ReplicaGroup
    from pbkd.training.training_hooks import TrainingHooks
    from pbkd.training.training_settings import TrainingSettings

    Batch = tuple[Tensor, Tensor]


__all__ = ["NetworkTraining", "Trainee", "take_step"]

_LOWER = 0.1  # the factor on the learning rate after an explosion
_FALL = 0.3  # of the validation score


@dataclass(frozen=True)
class NetworkTraining:
    """A network to train.

    Attributes:
        network: Maps (B, C, H, W) to (B, classes); it is on the device to train on.
        settings: Hyperparameters.
        hooks: Progress reports and checkpoints.
    """

    network: nn.Module
    settings: TrainingSettings
    hooks: TrainingHooks


class Trainee:
    """A network in training, between its first state and its last.

    Attributes:
        training: What it trains.
        best: Its best state so far, and the number of its finished epochs.
    """

    def __init__(
        self,
        training: NetworkTraining,
        data: Dataset,
        normalization: Normalization,
        teacher: nn.Module | None,
    ) -> None:
        """Prepare the first epoch; that of a resumed training is a later one."""
        settings, network = training.settings, training.network
        self.training = training
        self._steps = steps_per_epoch(data.train, settings.batch_size)
        steps = (settings.epochs - settings.begun) * self._steps
        self._learner = _learner(network, settings, steps)
        self._objective = objective(settings, is_taught=teacher is not None, labelled=data.labelled)
        self._validate = partial(
            _validate, network, data.validation, normalization, settings.replicas
        )
        self._split = data.validation
        self.best = _first_state(self._learner, training.hooks, self._split, self._validate)
        if self.best.epochs == settings.begun:
            self.best.to_beat = self.best.score
            if self.best.rate != 1:  # lowered in earlier rounds
                self._learner = _at_lower_rate(network, settings, self.best, self._steps)
        self._pace = training.hooks.start_pace(self.best.epochs, self._steps)
        self._is_over = False

    def ends(self) -> bool:
        """Return whether all epochs are over; at first, leave the network in its best state."""
        if not self._is_over and self.best.epochs >= self.training.settings.epochs:
            self._is_over = True
            self.training.hooks.keep(self.best)
            self.training.network.eval().load_state_dict(self.best.state)
        return self._is_over

    def begin_epoch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Get ready for an epoch; return its batches, which are counted."""
        network = self.training.network.train()
        self._learner.begin_epoch(self.best.epochs)
        self._watch = self.training.hooks.watch(self.best, self._steps)
        self._total = torch.zeros((), device=next(network.parameters()).device)
        self._how: str | None = None
        return self._pace(batches)

    def learn(self, lesson: Lesson) -> bool:
        """Take a step; return whether the epoch goes on, which an exploding loss ends."""
        replicas = self.training.settings.replicas
        with self._learner.drawing():
            loss = self._objective(self._learner, lesson, self.best.epochs)
            take_step(self._learner, loss, replicas)
        self._total += loss.detach()
        if self._watch is not None:
            self._how = self._watch.see(loss.detach(), replicas)
        return self._how is None

    def end_epoch(self) -> None:
        """Compare the network with its best state; if it has exploded, return to that."""
        best, settings, hooks = self.best, self.training.settings, self.training.hooks
        how, watch, replicas = self._how, self._watch, settings.replicas
        best.start = watch.start if watch else None
        if how:
            self._start_again(how)
            return
        total = float(replicas.sum(self._total) if replicas else self._total)
        loss, classes = total / self._steps, self._validate()
        score = share_correct(classes, self._split)
        if watch and (how := _explosion(loss, score, best.score)):
            self._start_again(how)
            return
        hooks.epoch_finished(best.epochs, loss, score)
        best.see_epoch(score, classes, self._split.labels, self.training.network)
        if is_checkpoint_due(best.epochs, settings.epochs, self._steps):
            hooks.keep(best, self._learner)

    def _start_again(self, how: str) -> None:
        """Repeat the epoch from the best state at a lower rate; `how` says what went wrong."""
        best, training, steps = self.best, self.training, self._steps
        best.rate *= _LOWER
        self._learner = _at_lower_rate(training.network, training.settings, best, steps)
        self._pace = training.hooks.start_again(how, best, self._learner, steps)


def _explosion(loss: float, score: float, best: float) -> str | None:
    """Say in words how an epoch has ruined the network, if it has: by 30 points of its score."""
    if not math.isfinite(loss):
        return f"its mean loss is {loss}"
    if score < best - _FALL:
        return f"its validation score fell from {100 * best:.2f} to {100 * score:.2f} %"
    return None


def _at_lower_rate(
    network: nn.Module, settings: TrainingSettings, best: BestState, steps: int
) -> Learner:
    """Return to the best state, at the present place in the schedule of its lower rate."""
    network.load_state_dict(best.state)
    rate = replace(settings.optimisation, lr=settings.optimisation.lr * best.rate)
    all_steps = (settings.epochs - settings.begun) * steps
    learner = _learner(network, replace(settings, optimisation=rate), all_steps)
    learner.skip_to((best.epochs - settings.begun) * steps, all_steps)
    return learner


def _learner(network: nn.Module, settings: TrainingSettings, steps: int) -> Learner:
    if settings.replicas is not None:
        settings.replicas.share_norms(network)
    learner = new_learner(network, settings.optimisation, steps=steps, dtype=settings.dtype)
    device = next(network.parameters()).device
    rank = settings.replicas.rows.rank if settings.replicas else 0
    learner.random = RandomStream(device, settings.seed, "fit", rank)
    return learner


def _validate(
    network: nn.Module,
    split: Split,
    normalization: Normalization,
    replicas: ReplicaGroup | None,
) -> Tensor:
    """Predict the class of every image, int64 (images,)."""
    if replicas is not None:
        return predict_together(network, split, normalization, replicas)
    device = next(network.parameters()).device
    return predict_classes(network, split, normalization, device=device)


def take_step(learner: Learner, loss: Tensor, replicas: ReplicaGroup | None) -> None:
    """Take an optimiser step down a loss, whose gradients `replicas` add up if there are any."""
    learner.optimiser.zero_grad(set_to_none=True)
    learner.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    if replicas is not None:
        replicas.add_gradients(learner.replacement)
    learner.step()


def _first_state(
    learner: Learner, hooks: TrainingHooks, split: Split, validate: Callable[[], Tensor]
) -> BestState:
    """Resume from a checkpoint; without any, score the network as it is."""
    resumed = hooks.checkpoints and resume(hooks.checkpoints, learner)
    if resumed:
        return resumed
    score = hooks.initial_score
    if score is None:
        score = share_correct(validate(), split)
    return BestState(0, score, copy_state(learner.replacement))
