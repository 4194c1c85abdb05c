"""Loaders of every sort, generated from a seed, and what a plain loop over them gives."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

CLASSES = 4

LABEL_FORMS: dict[str, Any] = {
    "int64": lambda labels: labels,
    "int32": lambda labels: labels.int(),
    "uint8": lambda labels: labels.to(torch.uint8),
    "float": lambda labels: labels.float(),
    "column": lambda labels: labels[:, None],
    "one-hot": lambda labels: one_hot(labels, CLASSES),
    "one-hot floats": lambda labels: one_hot(labels, CLASSES).double(),
    "one-hot bools": lambda labels: one_hot(labels, CLASSES).bool(),
}
IMAGE_TYPES = [torch.uint8, torch.float32, torch.float64, torch.float16]


class Items(Dataset[Any]):
    """A data set of a program, whose attribute `targets` may be right, wrong or missing."""

    def __init__(self, images: Tensor, labels: Tensor, targets: str, *, keyed: bool) -> None:
        self.images, self.labels_of_items, self.keyed = images, labels, keyed
        if targets != "none":
            self.targets = labels if targets == "right" else labels.roll(1, 0)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Any:
        image, label = self.images[row], self.labels_of_items[row]
        return {"pixel_values": image, "label": label} if self.keyed else (image, label, row)


class Stream(IterableDataset[Any]):
    def __init__(self, dataset: Dataset[Any], *, sized: bool, endless: bool) -> None:
        self.dataset, self.endless = dataset, endless
        if sized:
            self.__class__ = SizedStream

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from (self.dataset[row] for row in range(len(self.dataset)))  # type: ignore[arg-type]
            if not self.endless:
                return


class SizedStream(Stream):
    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]


class EveryThird:
    """An own sampler, which has no length."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count - 1, -1, -3))


class Shortened(DataLoader[Any]):
    def __iter__(self) -> Any:
        return (batch for number, batch in enumerate(super().__iter__()) if number % 2 == 0)


class Doubled(DataLoader[Any]):
    def __iter__(self) -> Any:
        return (batch for batch in super().__iter__() for _ in range(2))


class Relabelled(DataLoader[Any]):
    def __iter__(self) -> Any:
        for batch in super().__iter__():
            images, labels = parts(batch)
            yield images.flip(0), (classes_in(labels).flip(0) + 1) % CLASSES


def sorted_batch(items: list[Any]) -> Any:
    """Collate the items in another order, and leave one out where there are more than two."""
    batch = torch.utils.data.default_collate(items)
    images, labels = parts(batch)
    order = classes_in(labels).argsort(stable=True, descending=True)
    return images[order][:2], labels[order][:2]


def parts(batch: Any) -> tuple[Tensor, Tensor]:
    return (batch["pixel_values"], batch["label"]) if isinstance(batch, dict) else tuple(batch[:2])


def classes_in(labels: Tensor) -> Tensor:
    one_per_image = labels.numel() == len(labels)
    return labels.reshape(-1).long() if one_per_image else labels.int().argmax(1)


def generated_loader(seed: int) -> DataLoader[Any]:
    """Return a loader. The first pixel of each image is the row's number."""
    choose = random.Random(seed)
    torch.manual_seed(seed)
    rows, channels = choose.randint(8, 30), choose.choice([1, 3])
    images = torch.randint(0, 256, (rows, channels, 3, 2), dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(rows)
    labels = LABEL_FORMS[choose.choice(list(LABEL_FORMS))](torch.randint(0, CLASSES, (rows,)))
    dataset = _dataset(choose, images.to(choose.choice(IMAGE_TYPES)), labels)
    kind: Any = choose.choice([DataLoader] * 5 + [Shortened, Doubled, Relabelled])
    size = choose.randint(1, 7)
    if choose.random() < 0.15:
        sized = choose.random() < 0.7
        stream = Stream(dataset, sized=sized, endless=False)
        return kind(stream, batch_size=size, drop_last=choose.random() < 0.3)  # type: ignore[no-any-return]
    options = _sampling(choose, dataset, size)
    if options.get("batch_size", 1) is None:
        return DataLoader(dataset, **options)
    if choose.random() < 0.15:
        options["collate_fn"] = sorted_batch
    if choose.random() < 0.3:
        options["generator"] = torch.Generator().manual_seed(seed)
    return kind(dataset, **options)  # type: ignore[no-any-return]


def _dataset(choose: random.Random, images: Tensor, labels: Tensor) -> Any:
    if choose.random() < 0.3:
        dataset: Any = TensorDataset(images, labels)
    else:
        targets = choose.choice(["none", "right", "wrong"])
        dataset = Items(images, labels, targets, keyed=choose.random() < 0.3)
    if choose.random() < 0.25:
        rows = list(range(len(dataset)))
        dataset = Subset(dataset, choose.sample(rows, len(rows) * 2 // 3))
    if choose.random() < 0.2:
        halves = len(dataset) // 2
        parts_of_it = [range(halves), range(halves, len(dataset))]
        dataset = ConcatDataset([Subset(dataset, list(part)) for part in parts_of_it])
    return dataset


def _sampling(choose: random.Random, dataset: Any, size: int) -> dict[str, Any]:
    count = len(dataset)
    some = choose.sample(range(count), count // 2)
    samplers: list[Any] = [
        SubsetRandomSampler(some),
        some,
        WeightedRandomSampler(torch.rand(count).tolist(), count + 3),
        WeightedRandomSampler(torch.rand(count).tolist(), count // 2, replacement=False),
        RandomSampler(dataset, replacement=True),
        RandomSampler(dataset, num_samples=count // 2),
        DistributedSampler(dataset, num_replicas=3, rank=1, shuffle=choose.random() < 0.5),
        EveryThird(count),
    ]
    drop_last = choose.random() < 0.3
    way = choose.choice(["plain", "shuffle", "sampler", "sampler", "batches", "lists", "single"])
    if way == "sampler":
        return {"batch_size": size, "sampler": choose.choice(samplers), "drop_last": drop_last}
    if way == "batches":
        return {"batch_sampler": BatchSampler(choose.choice(samplers), size, drop_last)}
    if way == "lists":
        return {"batch_sampler": [some[:2], some[2:5], [-1]][:: choose.choice([2, 3])]}
    if way == "single":
        return {"batch_size": None, "sampler": choose.choice(samplers)}
    return {"batch_size": size, "shuffle": way == "shuffle", "drop_last": drop_last}


def plain_loop(loader: DataLoader[Any]) -> list[tuple[Tensor, Tensor]]:
    """Return the images and the classes of each batch, as a program's own loop gets them."""
    batches = []
    for batch in loader:
        images, labels = parts(batch)
        if images.ndim == 3:
            images, labels = images[None], labels[None]
        batches.append((images, classes_in(labels)))
    return batches
