"""The cause why a teacher is no better than chance, found by trial."""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from pbkd.core.intervals import wilson_interval
from pbkd.data.normalization import Normalization

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from pbkd.training.task import DistillationTask


__all__ = ["Cause", "Predictions", "better_order", "find_cause"]

_MOST_IMAGES = 128  # of a trial
_LEAST_GAIN = 0.1
_ANOTHER_ORDER = "with its classes in another order"
_RENUMBER = "number the labels as the teacher's outputs are"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predicted classes and labels of images, int64 (N,) both, on the CPU."""

    predicted: Tensor
    labels: Tensor

    @property
    def images(self) -> int:
        """The number of images."""
        return len(self.labels)

    @property
    def correct(self) -> int:
        """The number of correct predictions."""
        return int((self.predicted == self.labels).sum())

    @property
    def accuracy(self) -> float:
        """The share of correct predictions, in [0, 1]."""
        return self.correct / self.images


@dataclass(frozen=True)
class Cause:
    """A change after which the teacher is right.

    Attributes:
        what: The change, to be followed by "it would be right on …".
        cure: What to do.
        accuracy: The accuracy after it.
    """

    what: str
    cure: str
    accuracy: float


def find_cause(
    task: DistillationTask, test: Predictions, validation: Predictions, wanted: float
) -> Cause | None:
    """Try the usual mistakes, and return the one that explains most.

    Args:
        task: Teacher and data.
        test: The teacher's predictions for the test split.
        validation: Those for the validation split.
        wanted: The accuracy that the lower end of the 95 % interval must exceed.

    Returns:
        The cause; None if no trial makes the teacher so accurate.
    """
    trials = [*_orders(test, validation)]
    for more in (_inputs(task), _batch_statistics(task)):
        # A network may refuse such inputs, or to be copied.
        with suppress(Exception):
            trials.extend(more)
    causes = [
        Cause(what, cure, predictions.accuracy)
        for what, cure, predictions in trials
        if wilson_interval(predictions.correct, predictions.images)[0] > wanted
    ]
    # The first of about equal ones: the last trial makes up for a wrong normalisation too.
    return max(causes, key=lambda cause: round(cause.accuracy, 1), default=None)


def better_order(predictions: Predictions) -> Cause | None:
    """Find out whether the classes in another order would be right on many more images.

    A matching of classes is fitted to every other image and tried on the rest. A good teacher costs
    nothing: its most frequent prediction for each class is the class.

    Args:
        predictions: The teacher's predictions.

    Returns:
        The cause; None unless the accuracy is clearly higher by at least a tenth.
    """
    count = int(torch.stack([predictions.predicted, predictions.labels]).max()) + 1
    confusion = _confusion(predictions, count)
    possible = int(confusion.max(0).values.sum()) - int(confusion.diagonal().sum())
    if possible < _LEAST_GAIN * predictions.images:
        return None
    fitted, tried = (
        Predictions(predictions.predicted[start::2], predictions.labels[start::2])
        for start in range(2)
    )
    matched = Predictions(_matching(fitted, count)[tried.predicted], tried.labels)
    low, _ = wilson_interval(matched.correct, matched.images)
    _, high = wilson_interval(tried.correct, tried.images)
    if low <= high or matched.accuracy < tried.accuracy + _LEAST_GAIN:
        return None
    return Cause(_ANOTHER_ORDER, _RENUMBER, matched.accuracy)


_Trial = tuple[str, str, Predictions]


def _orders(test: Predictions, validation: Predictions) -> Iterator[_Trial]:
    """Yield other numberings of the classes: shifted, sorted as text, or any."""
    both = Predictions(
        torch.cat([test.predicted, validation.predicted]),
        torch.cat([test.labels, validation.labels]),
    )
    for shift, kind in ((1, "from 1"), (-1, "from -1")):
        shifted = Predictions(both.predicted + shift, both.labels)
        yield f"with classes that are counted {kind}", _RENUMBER, shifted
    count = int(torch.stack([both.predicted, both.labels]).max()) + 1
    by_text = torch.tensor(sorted(range(count), key=str))
    for order in (by_text, by_text.argsort()):
        reordered = Predictions(order[both.predicted], both.labels)
        yield "with its classes sorted as text instead of as numbers", _RENUMBER, reordered
    matched = _matching(test, count)[validation.predicted]
    # The matching was fitted to the test images, so it is tried on the others.
    yield _ANOTHER_ORDER, _RENUMBER, Predictions(matched, validation.labels)


def _matching(predictions: Predictions, count: int) -> Tensor:
    """Return the one-to-one matching with the most correct predictions: a label by class."""
    from scipy.optimize import linear_sum_assignment  # slow to import

    _, labels = linear_sum_assignment(_confusion(predictions, count).numpy(), maximize=True)
    return torch.from_numpy(labels)


def _confusion(predictions: Predictions, count: int) -> Tensor:
    """Count the images by predicted class and label: int64 (count, count)."""
    pairs = predictions.predicted * count + predictions.labels
    return torch.bincount(pairs, minlength=count**2).view(count, count)


def _inputs(task: DistillationTask) -> Iterator[_Trial]:
    """Yield other preparations of the images: order of the channels, normalisation, inversion."""
    images, labels = _sample(task)
    usual = task.normalize(images)
    pixels = _pixels(images)
    variants = [("channels in the reverse order", "reverse the images' channels", usual.flip(1))]
    if pixels is not None:
        reverse = task.normalize(pixels.flip(1))
        variants[0] = (*variants[0][:2], reverse)
        variants += _normalizations(pixels)
        inverted = task.normalize(1 - pixels)
        variants.append(("light and dark inverted", "invert the images", inverted))
    for what, cure, inputs in variants:
        predicted = _predict(task.teacher.network, inputs.to(task.device))
        yield f"with {what}", cure, Predictions(predicted, labels)


def _normalizations(pixels: Tensor) -> Iterator[tuple[str, str, Tensor]]:
    """Yield the usual normalisations of pixels in [0, 1], in both orders of the channels."""
    from timm.data.constants import (  # slow to import
        IMAGENET_DEFAULT_MEAN,
        IMAGENET_DEFAULT_STD,
    )

    channels = pixels.shape[1]
    usual = [([0.0], [1.0]), ([0.5], [0.5]), ([0.0], [1 / 255])]
    known = [(mean * channels, std * channels) for mean, std in usual]
    if channels == 3:
        known.append((list(IMAGENET_DEFAULT_MEAN), list(IMAGENET_DEFAULT_STD)))
    spread, centre = torch.std_mean(pixels, dim=(0, 2, 3))
    known.append((centre.tolist(), spread.clamp_min(1e-3).tolist()))
    for mean, std in known:
        figures = (f"[{', '.join(f'{value:.3g}' for value in values)}]" for values in (mean, std))
        what = "mean {} and std {}".format(*figures)
        normalization = Normalization(tuple(mean), tuple(std))
        yield what, "normalise the images so", normalization.apply(pixels, "cpu")
        if channels == 3:
            reverse = normalization.apply(pixels.flip(1), "cpu")
            cure = "normalise the images so and reverse their channels"
            yield f"{what} and channels in the reverse order", cure, reverse


def _batch_statistics(task: DistillationTask) -> Iterator[_Trial]:
    """Yield the predictions with the statistics of these images in every BatchNorm."""
    network = copy.deepcopy(task.teacher.network)
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if norms:
        for norm in norms:
            norm.train()
        images, labels = _sample(task)
        predicted = _predict(network, task.normalize(images))
        cure = (
            "load BatchNorm's running statistics with the weights, and normalise the images as for"
            " its training"
        )
        yield (
            "with BatchNorm's statistics taken from these images",
            cure,
            Predictions(predicted, labels),
        )


def _sample(task: DistillationTask) -> tuple[Tensor, Tensor]:
    """Return test images, spread evenly over the split, and their labels."""
    test = task.data.test
    rows = torch.linspace(0, len(test) - 1, min(len(test), _MOST_IMAGES)).long()
    return test.images(rows), test.labels[rows]


def _pixels(images: Tensor) -> Tensor | None:
    """Return the images with values in [0, 1]; None if floats have other values."""
    if not images.is_floating_point():
        return images.float() / 255
    return images if 0 <= float(images.min()) <= float(images.max()) <= 1 else None


@torch.no_grad()
def _predict(network: nn.Module, inputs: Tensor) -> Tensor:
    logits: Tensor = network(inputs)
    return logits.argmax(1).cpu()
