from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from pbkd_synthetic import SyntheticSource, register_data

from pbkd.errors import DataError

if TYPE_CHECKING:
    from pbkd.data import Split


def everything(split: Split) -> torch.Tensor:
    return split.images(torch.arange(len(split)))


def test_the_source_is_registered() -> None:
    assert register_data() == [SyntheticSource]


def test_synthetic_images_are_always_the_same_and_can_be_learnt() -> None:
    source = SyntheticSource(classes=5, channels=2, height=9, width=7, count=200, validation=0.2)
    data, again = source.load(), source.load()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [160, 40, 50]
    assert (data.num_classes, data.image_shape) == (5, (2, 9, 7))
    images = everything(data.train)
    assert torch.equal(images, everything(again.train))
    assert len({image.numpy().tobytes() for image in images}) == 160
    centres = torch.stack([images[data.train.labels == k].float().mean(0) for k in range(5)])
    distances = torch.cdist(everything(data.test).float().flatten(1), centres.flatten(1))
    nearest = distances.argmin(1)
    assert float((nearest == data.test.labels).float().mean()) > 0.95


@pytest.mark.parametrize("option", ["classes", "channels", "height", "width", "count"])
def test_synthetic_images_need_positive_numbers(option: str) -> None:
    options: Any = {option: 0}
    with pytest.raises(DataError, match=rf"data\.{option} is 0"):
        SyntheticSource(**options).load()


def test_synthetic_images_too_few_for_a_test_split_are_refused() -> None:
    with pytest.raises(DataError, match=r"test split .* is empty"):
        SyntheticSource(classes=2, count=3, validation=0.4).load()
