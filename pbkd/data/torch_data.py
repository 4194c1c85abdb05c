"""Tensors, torch data sets and loaders of a Python program, as the splits of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, default_collate

from pbkd.config.options import MEMORY
from pbkd.data.augmentation import Augmentation
from pbkd.data.datasets import ArraySplit, Dataset, missing_labels
from pbkd.data.prefetch import read_with_processes
from pbkd.data.splits import split_validation, split_validation_and_test
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pbkd.data.datasets import RowBatch, Split


__all__ = ["TorchSplit", "dataset_from_torch"]

_BATCH_SIZE = 256  # of the pass that reads all labels


@dataclass(frozen=True, eq=False)
class TorchSplit:
    """A map-style torch data set, whose items are read anew in every epoch, ahead of their use.

    Random transforms of the data set are applied anew as well, so that a repeated run sees other
    images.

    Attributes:
        dataset: The torch data set.
        labels: The class of every item, int64 (len,).
        collate: Makes a batch of a list of items, as the `DataLoader` of the program does.
        workers: Processes that read (0 = this process).
    """

    dataset: Any
    labels: Tensor
    collate: Callable[[list[Any]], Any]
    workers: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)

    def images(self, indices: Tensor) -> Tensor:
        """Return the images of these rows."""
        batch = self.collate([self.dataset[row] for row in indices.tolist()])
        return _images_of(batch)

    def read(self, batches: Iterable[RowBatch]) -> Iterator[Tensor]:
        """Yield the images of each batch."""
        read = read_with_processes(self.dataset, batches, self.workers, self.collate, seeded=False)
        yield from map(_images_of, read)


def dataset_from_torch(train: Any, validation: Any, test: Any, share: float = 0.1) -> Dataset:
    """Make a data set of the images that a program has in memory or reads with torch.

    Each split is a torch `DataLoader`, a map-style data set, a tensor of images, or a pair of
    images and labels. Images are (C, H, W), normalised float32 or uint8. Either all of them have
    labels, counted from 0, or none has.

    Args:
        train: The training images.
        validation: The validation images; None to hold them out from `train`.
        test: The test images; None to hold them out from `train`.
        share: Share of the images held out for each missing split.

    Raises:
        DataError: A split cannot be read, or the splits do not fit each other.
    """
    everything = _to_split(train)
    if test is None:
        training, held_out, test_split = split_validation_and_test(everything, share)
        validation_split = held_out if validation is None else _to_split(validation)
    elif validation is None:
        training, validation_split = split_validation(everything, share)
        test_split = _to_split(test)
    else:
        training, validation_split, test_split = everything, _to_split(validation), _to_split(test)
    splits = (training, validation_split, test_split)
    return Dataset(
        name=MEMORY,
        train=training,
        validation=validation_split,
        test=test_split,
        num_classes=_num_classes(splits),
        image_shape=_image_shape(splits),
        augmentation=Augmentation(external=True),
    )


def _num_classes(splits: Sequence[Split]) -> int | None:
    """Return the largest label plus one, or None if no split has labels."""
    labelled = {bool((split.labels >= 0).any()) for split in splits}
    if len(labelled) > 1:
        raise DataError(
            "some of the images have labels and others have none: give all or no labels."
        )
    return 1 + max(int(split.labels.max()) for split in splits) if labelled == {True} else None


def _image_shape(splits: Sequence[Split]) -> tuple[int, int, int]:
    first = torch.zeros(1, dtype=torch.int64)
    shapes = sorted({tuple(split.images(first).shape[1:]) for split in splits})
    if len(shapes) > 1 or len(shapes[0]) != 3:
        raise DataError(
            f"images must be (channels, height, width), all the same, but are {shapes}."
        )
    channels, height, width = shapes[0]
    return channels, height, width


def _to_split(source: Any) -> Split:
    """Make a split of a tensor, a pair of tensors, a torch data set or a `DataLoader`."""
    if isinstance(source, Tensor):
        return ArraySplit(_pixels(source), missing_labels(len(source)))
    if isinstance(source, (tuple, list)) and len(source) == 2:
        images, labels = map(torch.as_tensor, source)
        return ArraySplit(_pixels(images), labels.to(torch.int64))
    collate, workers = default_collate, 0
    if isinstance(source, DataLoader):
        if isinstance(source.dataset, IterableDataset) or source.batch_sampler is None:
            return _read_into_memory(source)
        collate, workers, source = source.collate_fn, source.num_workers, source.dataset
    if type(source) is TensorDataset and collate is default_collate:
        return _to_split(source.tensors if len(source.tensors) > 1 else source.tensors[0])
    if not (hasattr(source, "__getitem__") and hasattr(source, "__len__")):
        raise DataError(
            f"a {type(source).__name__} cannot be read from: give a torch DataLoader, a data set"
            " with __getitem__ and __len__, a tensor of images, or a pair of images and labels."
        )
    return TorchSplit(source, _labels_of(source, collate, workers), collate, workers)


def _labels_of(dataset: Any, collate: Callable[[list[Any]], Any], workers: int) -> Tensor:
    """Return the data set's attribute `targets`, or read all items once for their labels."""
    targets = getattr(dataset, "targets", None)
    if targets is not None and getattr(dataset, "target_transform", None) is None:
        return torch.as_tensor(targets).to(torch.int64)
    if not len(dataset):
        return missing_labels(0)
    if _labels_in(collate([dataset[0]])) is None:
        return missing_labels(len(dataset))
    batches = ((rows, None) for rows in torch.split(torch.arange(len(dataset)), _BATCH_SIZE))
    read = read_with_processes(dataset, batches, workers, collate, seeded=False)
    labels = [_labels_in(batch) for batch in read]
    return torch.cat([part for part in labels if part is not None])


def _read_into_memory(loader: DataLoader[Any]) -> ArraySplit:
    """Read a loader that has no random access once, and keep its images and labels."""
    images, labels = [], []
    for batch in loader:
        images.append(_images_of(batch))
        labels.append(_labels_in(batch))
    if not images:
        raise DataError("the loader gives no batches.")
    known = [part for part in labels if part is not None]
    pixels = torch.cat(images)
    return ArraySplit(pixels, torch.cat(known) if known else missing_labels(len(pixels)))


def _images_of(batch: Any) -> Tensor:
    images = batch[0] if isinstance(batch, (tuple, list)) and len(batch) else batch
    if not isinstance(images, Tensor):
        raise DataError(
            f"a batch is a {type(batch).__name__} of {type(images).__name__}, but must be a tensor"
            " of images, or a pair of tensors, images and labels: give the loader such a"
            " collate_fn."
        )
    return _pixels(images)


def _labels_in(batch: Any) -> Tensor | None:
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        return None
    return torch.as_tensor(batch[1]).to(torch.int64)


def _pixels(images: Tensor) -> Tensor:
    return images.to(torch.float32) if images.is_floating_point() else images
