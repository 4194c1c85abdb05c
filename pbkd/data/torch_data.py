"""Whatever torch reads images from, as the splits of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, default_collate

from pbkd.config.options import MEMORY
from pbkd.data.datasets import ArraySplit, Dataset, missing_labels
from pbkd.data.prefetch import read_with_processes
from pbkd.data.splits import split_validation, split_validation_and_test
from pbkd.data.transforms import Augmentation
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pbkd.data.datasets import Batch, Split


__all__ = ["TorchSplit", "dataset_from_torch"]

_BATCH = 256


@dataclass(frozen=True, eq=False)
class TorchSplit:
    """A map-style torch data set, whose items are read anew each time, ahead of their use.

    Read and collated as its loader would, by as many processes. If its transforms are random, so
    are the images, and a run that is repeated sees others.
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

    def read(self, batches: Iterable[Batch]) -> Iterator[Tensor]:
        """Yield the images of each batch."""
        read = read_with_processes(self.dataset, batches, self.workers, self.collate, seeded=False)
        yield from map(_images_of, read)


def dataset_from_torch(train: Any, validation: Any, test: Any, held_out: float = 0.1) -> Dataset:
    """Make a data set of images that a program has.

    Each of the three is a torch `DataLoader`, a map-style data set, a tensor of images, or a pair
    of images and labels; `validation` and `test` may be None, and are then cut off `train`, a share
    `held_out` each. Images are float32 (C, H, W), normalised, or uint8. Either all have labels,
    from 0 on, or none has. Raises `DataError`.
    """
    everything = _split(train)
    if test is None:
        kept, held, last = split_validation_and_test(everything, held_out)
        held = held if validation is None else _split(validation)
    elif validation is None:
        (kept, held), last = split_validation(everything, held_out), _split(test)
    else:
        kept, held, last = everything, _split(validation), _split(test)
    splits = (kept, held, last)
    return Dataset(
        MEMORY,
        *splits,
        _classes_of(splits),
        _image_shape(splits),
        Augmentation(external=True),
    )


def _classes_of(splits: Sequence[Split]) -> int | None:
    """Return one more than the largest label, or None where there are no labels at all."""
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


def _split(source: Any) -> Split:
    """Return a split of what torch can read."""
    if isinstance(source, Tensor):
        return ArraySplit(_pixels(source), missing_labels(len(source)))
    if isinstance(source, (tuple, list)) and len(source) == 2:
        images, labels = map(torch.as_tensor, source)
        return ArraySplit(_pixels(images), labels.to(torch.int64))
    collate, workers = default_collate, 0
    if isinstance(source, DataLoader):
        if isinstance(source.dataset, IterableDataset) or source.batch_sampler is None:
            return _kept_in_memory(source)
        collate, workers, source = source.collate_fn, source.num_workers, source.dataset
    if type(source) is TensorDataset and collate is default_collate:
        return _split(source.tensors if len(source.tensors) > 1 else source.tensors[0])
    if not (hasattr(source, "__getitem__") and hasattr(source, "__len__")):
        raise DataError(
            f"a {type(source).__name__} cannot be read from: give a torch DataLoader, a data set"
            " with __getitem__ and __len__, a tensor of images, or a pair of images and labels."
        )
    return TorchSplit(source, _labels_of(source, collate, workers), collate, workers)


def _labels_of(dataset: Any, collate: Callable[[list[Any]], Any], workers: int) -> Tensor:
    """Return the labels that a data set has at hand, or else those of all its items, read once."""
    known = getattr(dataset, "targets", None)
    if known is not None and getattr(dataset, "target_transform", None) is None:
        return torch.as_tensor(known).to(torch.int64)
    if not len(dataset):
        return missing_labels(0)
    if _labels_in(collate([dataset[0]])) is None:
        return missing_labels(len(dataset))
    rows = torch.split(torch.arange(len(dataset)), _BATCH)
    read = read_with_processes(
        dataset, ((some, None) for some in rows), workers, collate, seeded=False
    )
    labels = [_labels_in(batch) for batch in read]
    return torch.cat([part for part in labels if part is not None])


def _kept_in_memory(loader: DataLoader[Any]) -> ArraySplit:
    """Go once through what cannot be asked for an item of its own, and keep it."""
    images, labels = [], []
    for batch in loader:
        images.append(_images_of(batch))
        labels.append(_labels_in(batch))
    if not images:
        raise DataError("the loader gives no batches.")
    found = [part for part in labels if part is not None]
    pixels = torch.cat(images)
    return ArraySplit(pixels, torch.cat(found) if found else missing_labels(len(pixels)))


def _images_of(batch: Any) -> Tensor:
    images = batch[0] if isinstance(batch, (tuple, list)) and len(batch) else batch
    if not isinstance(images, Tensor):
        raise DataError(
            f"a batch is a {type(batch).__name__} of {type(images).__name__}, but must be images,"
            " or a pair of images and labels, as tensors: give the loader a collate_fn that makes"
            " them."
        )
    return _pixels(images)


def _labels_in(batch: Any) -> Tensor | None:
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        return None
    return torch.as_tensor(batch[1]).to(torch.int64)


def _pixels(images: Tensor) -> Tensor:
    return images.to(torch.float32) if images.is_floating_point() else images
