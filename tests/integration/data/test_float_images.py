"""Float images in a whole run: mean and std are applied, and the result says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import pbkd
from pbkd.errors import ConfigError, DataError

MEAN, STD = (0.5, 0.4, 0.6), (0.2, 0.3, 0.1)


class Items(Dataset[tuple[Tensor, int]]):
    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.images[row], int(self.labels[row])


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


def labelled(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Return images in [0, 1], and what the model says when they are normalised."""
    images = torch.rand(90, 3, 8, 8)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return images, model((images - mean) / std).argmax(1).detach()


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    return {
        "quiet": True, "threads": 1, "meters": [], "out": str(tmp_path),
        "target": {"block_drop": 100}, "allow_chance": True,
        "distill": {"epochs": 1, "student_fed_epochs": 1},
        "finetune": {"epochs": 1},
    }  # fmt: skip


def test_a_run_on_floats_gives_the_teacher_what_it_was_trained_on(options: dict[str, Any]) -> None:
    model = network()
    loader = DataLoader(Items(*labelled(model)), batch_size=16)
    result = pbkd.compress(model, loader, mean=MEAN, std=STD, **options)
    assert result.teacher.accuracy == 1
    assert "mean [0.5, 0.4, 0.6] (mean), std [0.2, 0.3, 0.1] (std)." in result.notes[0]


def test_what_cannot_be_right_is_refused_before_anything_is_trained(
    options: dict[str, Any],
) -> None:
    model = network()
    images, labels = labelled(model)
    with pytest.raises(
        DataError,
        match="image 17, counted from 0 in the data for training, has pixels that are NaN",
    ):
        broken = images.index_fill(0, torch.tensor([17]), float("nan"))
        pbkd.compress(model, (broken, labels), **options)
    with pytest.raises(DataError, match="neither in 0 … 1 nor normalised by"):
        pbkd.compress(model, (images * 2 - 1, labels), mean=MEAN, std=STD, **options)
    with pytest.raises(DataError, match=r"\(8, 8, 3\), with their channels last"):
        pbkd.compress(model, (images.permute(0, 2, 3, 1), labels), **options)
    with pytest.raises(ConfigError, match="give std too"):
        pbkd.compress(model, (images, labels), mean=MEAN, **options)
    with pytest.raises(ConfigError, match="divide both by 255"):
        pbkd.compress(model, (images, labels), mean=[127.5] * 3, std=[127.5] * 3, **options)
