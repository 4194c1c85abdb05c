"""The state of a network that is kept, and its checkpoints before, during and after a training."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.models.paired_scores import paired_change
from pbkd.training.checkpoint import restore, snapshot, tensors_below

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from pbkd.training.checkpoint import CheckpointStore, Facts
    from pbkd.training.learner import Learner


__all__ = [
    "BestState",
    "copy_state",
    "finished_training",
    "newest_checkpoint",
    "resume",
    "write_finished",
    "write_progress",
    "write_start",
]

_CLASSES = "classes"


@dataclass
class BestState:
    """The state that is kept so far, and how far the training is.

    Attributes:
        epochs: Epochs that have been trained.
        score: Its validation score.
        state: Parameters and buffers.
        epoch: The epoch that ended with it, counted from 1; 0 for the state before the first.
        classes: Its classes of the validation images, int64 (images,); None at epoch 0.
        start: The loss of the first batch; None before it.
        rate: The factor by which the learning rate was lowered.
        to_beat: The score before the learning-rate schedule, which an epoch must surpass.
    """

    epochs: int
    score: float
    state: dict[str, Tensor]
    epoch: int = 0
    classes: Tensor | None = None
    start: float | None = None
    rate: float = 1.0
    to_beat: float = -1.0

    def see_epoch(self, score: float, classes: Tensor, labels: Tensor, network: nn.Module) -> None:
        """Count an epoch, and copy the network if it is at least as good, as far as can be known.

        As the learning rate falls to zero, a later epoch is expected to be the better one. It is
        kept unless an earlier one of the same schedule was surely better, by the 95 % interval of
        the paired difference.

        Args:
            score: The validation score.
            classes: The classes that the network predicts, int64 (images,).
            labels: The labels of the validation images, int64 (images,).
            network: The network.
        """
        self.epochs += 1
        if score > self.to_beat and not self._is_surely_better(classes, labels):
            self.score, self.state = score, copy_state(network)
            self.epoch, self.classes = self.epochs, classes

    def _is_surely_better(self, classes: Tensor, labels: Tensor) -> bool:
        """Whether the kept state is surely better than one that predicts these classes."""
        if self.score <= self.to_beat or self.classes is None:
            return False
        change = paired_change({"teacher": self.classes, "student": classes}, labels)
        return change.interval[1] < 0


def copy_state(network: nn.Module) -> dict[str, Tensor]:
    """Copy a network's parameters and buffers."""
    return copy.deepcopy(network.state_dict())


def write_start(store: CheckpointStore, network: nn.Module, score: float) -> None:
    """Write the checkpoint before the first epoch, from which other processes begin.

    Args:
        store: Where it goes.
        network: The network.
        score: Its validation score.
    """
    store.write(0, *_record(BestState(0, score, copy_state(network)), ended=False))


def write_progress(store: CheckpointStore, learner: Learner, best: BestState) -> None:
    """Write a checkpoint from which the training goes on."""
    tensors, facts = snapshot(learner)
    kept, about = _record(best, ended=False)
    store.write(best.epochs, {**tensors, **kept}, {**facts, **about})


def write_finished(store: CheckpointStore, best: BestState) -> None:
    """Write the checkpoint after the last epoch of a round, which `finished_training` reads."""
    store.write(best.epochs, *_record(best, ended=True))


def finished_training(store: CheckpointStore, network: nn.Module, epochs: int) -> BestState | None:
    """Read how a training ended.

    Args:
        store: Its checkpoints.
        network: A network with tensors of the same names and shapes.
        epochs: Its epochs, with all earlier rounds.

    Returns:
        Its best state; None if the training is not over.
    """
    tensors, facts = newest_checkpoint(store, network) or ({}, {})
    is_over = facts.get("ended") and facts["epochs"] >= epochs
    return _best(tensors, facts) if is_over else None


def resume(store: CheckpointStore, learner: Learner) -> BestState | None:
    """Restore the newest readable checkpoint of a network of these tensors, if there is one."""
    found = newest_checkpoint(store, learner.replacement)
    if found is None:
        return None
    tensors, facts = found
    best = _best(tensors, facts)
    if "optimiser" in facts:
        restore(tensors, facts, learner)
    else:  # before the first epoch of a round, or after the last one
        learner.replacement.load_state_dict(best.state)
    return best


def _record(best: BestState, *, ended: bool) -> tuple[dict[str, Tensor], Facts]:
    """Return what a checkpoint says of the best state."""
    tensors = {f"best.{name}": tensor for name, tensor in best.state.items()}
    if best.classes is not None:
        tensors[_CLASSES] = best.classes
    layout = _layout(best.state)
    return tensors, {
        "epochs": best.epochs,
        "best": best.score,
        "best_epoch": best.epoch,
        "start": best.start,
        "rate": best.rate,
        "to_beat": best.to_beat,
        "layout": layout,
        "ended": ended,
    }


def _best(tensors: Mapping[str, Tensor], facts: Facts) -> BestState:
    return BestState(
        facts["epochs"],
        facts["best"],
        tensors_below(tensors, "best."),
        facts["best_epoch"],
        tensors.get(_CLASSES),
        facts["start"],
        facts["rate"],
        facts["to_beat"],
    )


def newest_checkpoint(
    store: CheckpointStore, network: nn.Module
) -> tuple[dict[str, Tensor], Facts] | None:
    """Read the newest readable checkpoint of a network of these tensors, if there is one."""
    layout = _layout(network.state_dict())
    for epoch in store.readable():
        tensors, facts = store.read(epoch)
        if facts.get("layout") == layout:
            return tensors, facts
        store.damaged(f"'{store.path(epoch)}' is of another student.")
    return None


def _layout(state: Mapping[str, Tensor]) -> str:
    """Return a digest of the names and shapes of a network's tensors, in any order."""
    shapes = sorted((name, tuple(tensor.shape)) for name, tensor in state.items())
    return hashlib.sha256(str(shapes).encode()).hexdigest()
