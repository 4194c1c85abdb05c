from __future__ import annotations

import hashlib

import pytest
import torch
from pbkd_digits import DigitsSource, register_data

from pbkd.data import Augmentation, Split


def everything(split: Split) -> torch.Tensor:
    return split.images(torch.arange(len(split)))


def test_the_source_is_registered() -> None:
    assert register_data() == [DigitsSource]


@pytest.mark.parametrize("has_file", [True, False])
def test_digits_are_the_1797_real_ones_each_in_one_split(
    monkeypatch: pytest.MonkeyPatch, has_file: bool
) -> None:
    from sklearn.datasets import load_digits

    if not has_file:
        monkeypatch.setattr("pbkd_digits.find_spec", lambda _: None)
    data = DigitsSource().load()
    parts = [data.train, data.validation, data.test]
    assert [len(part) for part in parts] == [1077, 360, 360]
    assert (data.num_classes, data.image_shape) == (10, (1, 8, 8))
    assert data.augmentation == Augmentation({"name": "crop-flip", "crop": 1, "flip": False})
    found = sorted(
        (label, *image.flatten().tolist())
        for part in parts
        for image, label in zip(everything(part), part.labels.tolist(), strict=True)
    )
    digits = load_digits()
    expected = sorted(
        (int(label), *(int(pixel * 255 / 16 + 0.5) for pixel in image))
        for image, label in zip(digits.data, digits.target, strict=True)
    )
    assert found == expected


def test_the_split_of_the_digits_never_changes() -> None:
    data = DigitsSource().load()
    # Models are shipped with scores on these images: they must be the same on every machine.
    pixels = everything(data.test).numpy().tobytes()
    assert hashlib.sha256(pixels).hexdigest()[:16] == "dd2fbba1fda39fbe"
