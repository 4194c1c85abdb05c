"""Images and labels in batches of every form."""

from __future__ import annotations

from collections import UserDict
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from pbkd.data.torch_batches import guarded, parse_batch, parse_item_or_batch
from pbkd.errors import DataError, TeacherError

IMAGES = torch.arange(24.0).reshape(2, 1, 3, 4)
LABELS = torch.tensor([2, 0])


class Named(NamedTuple):
    pictures: torch.Tensor
    classes: torch.Tensor


@pytest.mark.parametrize(
    "batch",
    [
        (IMAGES, LABELS),
        [IMAGES, LABELS, torch.arange(2), ("a.png", "b.png")],
        Named(IMAGES, LABELS),
        {"image": IMAGES, "label": LABELS, "path": ["a", "b"]},
        UserDict({"pixel_values": IMAGES, "labels": LABELS[:, None]}),
        {"x": IMAGES.double(), "y": torch.eye(3)[LABELS]},
        (tuple(IMAGES), (2, 0)),
        (IMAGES.numpy(), np.array([2, 0])),
        (IMAGES.requires_grad_(), LABELS.int()),
    ],
    ids=lambda batch: type(batch).__name__,
)
def test_images_and_labels_are_found(batch: Any) -> None:
    images, labels = parse_batch(batch)
    assert torch.equal(images, IMAGES.detach())
    assert not images.requires_grad
    assert labels is not None
    assert labels.tolist() == [2, 0]


@pytest.mark.parametrize("batch", [IMAGES, (IMAGES,), (IMAGES, None), {"images": IMAGES}])
def test_images_alone_are_taken_without_labels(batch: Any) -> None:
    images, labels = parse_batch(batch)
    assert len(images) == 2
    assert labels is None


def test_single_items_become_batches_of_one() -> None:
    for item in [(IMAGES[0], 2), (IMAGES[0], torch.tensor([0, 0, 1])), {"x": IMAGES[0], "y": 2}]:
        images, labels = parse_item_or_batch(item)
        assert images.shape == (1, 1, 3, 4)
        assert labels is not None
        assert labels.tolist() == [2]
    assert parse_item_or_batch(IMAGES[0])[1] is None
    assert len(parse_item_or_batch((IMAGES, LABELS))[0]) == 2


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"img": IMAGES, "fine": 1, "coarse": 2}, "has the keys 'img', 'fine', 'coarse'"),
        ({"image": IMAGES, "x": IMAGES}, "must have one of 'image', "),
        ({"image": IMAGES, "label": 1, "target": 2}, "one of 'label', 'labels', 'target'"),
        ([(IMAGES[0], 1), (IMAGES[1], 0)], "a batch is a list of tuple"),
        ([Image.new("L", (4, 3))] * 2, "a batch is a list of Image"),
        ((IMAGES[0], 1), r"must be \(N, channels, height, width\), but are \(1, 3, 4\)"),
        ((IMAGES, torch.tensor([1])), "a batch has 2 images, but 1 labels"),
        (([IMAGES[0], IMAGES[0, :, 1:]], LABELS), "differ in size"),
        ((IMAGES, ["cat", "dog"]), "the labels are text"),
    ],
)
def test_other_batches_are_refused(batch: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_batch(batch)


def test_errors_of_the_program_name_its_class_and_a_cure() -> None:
    with pytest.raises(DataError, match=r"list cannot be read \(OSError: gone\)"), guarded([]):
        raise OSError("gone.")
    with pytest.raises(DataError, match=r"torchvision\.transforms\.ToTensor"), guarded([]):
        torch.utils.data.default_collate([Image.new("L", (4, 3))])
    with pytest.raises(DataError, match="makes all images the same size"), guarded([]):
        torch.utils.data.default_collate([IMAGES[0], IMAGES[0, :, 1:]])
    with pytest.raises(TeacherError), guarded([]):
        raise TeacherError("stays as it is")
    with pytest.raises(MemoryError), guarded([]):
        raise MemoryError
