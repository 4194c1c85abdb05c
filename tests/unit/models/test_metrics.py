from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pbkd.data.datasets import ArraySplit
from pbkd.data.normalization import Normalization
from pbkd.models.accuracy import accuracy
from pbkd.models.latency import latencies
from pbkd.models.metrics import macs, parameters

NORMALIZATION = Normalization((0.5,), (0.25,))


class Brightest(nn.Module):
    """Predicts the brightest of the pixels in the top row, and notes the batches it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.batches.append(len(x))
        return x[:, 0, 0]


def bright_split(count: int, wrong: int) -> ArraySplit:
    labels = torch.arange(count) % 4
    pixels = torch.zeros(count, 1, 4, 4, dtype=torch.uint8)
    pixels[torch.arange(count), 0, 0, labels] = 200
    shown = torch.where(torch.arange(count) < wrong, (labels + 1) % 4, labels)
    return ArraySplit(pixels, shown)


@pytest.mark.parametrize(("count", "wrong"), [(10, 3), (8, 0), (3, 3)])
def test_accuracy_counts_every_image_once(count: int, wrong: int) -> None:
    model = Brightest()
    split = bright_split(count, wrong)
    found = accuracy(model, split, NORMALIZATION, device="cpu", batch_size=4)
    assert found == (count - wrong) / count
    assert sum(model.batches) == count


def test_a_wrong_image_in_the_small_last_batch_counts_as_much_as_any_other() -> None:
    split = bright_split(9, 0)
    split.labels[8] = (split.labels[8] + 1) % 4
    found = accuracy(Brightest(), split, NORMALIZATION, device="cpu", batch_size=4)
    assert found == 8 / 9


def partly_frozen() -> nn.Sequential:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 4))
    model.train()
    model[1].eval()
    return model


def test_measuring_leaves_modes_and_buffers_as_they_were() -> None:
    model = partly_frozen()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    accuracy(model, bright_split(5, 0), NORMALIZATION, device="cpu")
    macs(model, (1, 4, 4))
    latencies({"model": model}, torch.rand(2, 1, 4, 4), repeats=1)
    assert (
        [module.training for module in model.modules()] == modes == [True, True, False, True, True]
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.is_grad_enabled()


def test_modes_come_back_after_an_error() -> None:
    model = partly_frozen()
    with pytest.raises(RuntimeError):
        macs(model, (2, 4, 4))
    assert model.training
    assert not model[1].training


def test_a_shared_parameter_counts_once() -> None:
    layer = nn.Linear(5, 5)
    assert parameters(layer) == 30
    assert parameters(nn.Sequential(layer, nn.ReLU(), layer)) == 30
    assert parameters(nn.Sequential(layer, nn.Linear(5, 2, bias=False))) == 40


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), (3, 10, 12), 10 * 12 * 8 * 3 * 9),
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 10, 12), 5 * 6 * 8 * 3 * 9),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), (8, 10, 12), 10 * 12 * 8 * 9),
        (nn.Conv2d(8, 24, 3, padding=1, groups=8), (8, 10, 12), 10 * 12 * 24 * 9),
        (nn.Conv2d(8, 16, 3, padding=1, groups=4), (8, 10, 12), 10 * 12 * 16 * 2 * 9),
        (nn.Conv2d(8, 16, 1, bias=False), (8, 10, 12), 10 * 12 * 16 * 8),
        (nn.Linear(20, 7), (20,), 20 * 7),
        (nn.Linear(20, 7, bias=False), (20,), 20 * 7),
        (nn.BatchNorm2d(8), (8, 10, 12), 0),
        (nn.Identity(), (8, 10, 12), 0),
    ],
)
def test_macs_follow_the_closed_formula(
    layer: nn.Module, shape: tuple[int, ...], expected: int
) -> None:
    assert macs(layer, shape) == expected


def test_macs_of_a_network_are_those_of_its_layers() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    assert macs(model, (3, 6, 6)) == 36 * 8 * 27 + 40
    assert macs(model.to(memory_format=torch.channels_last), (3, 6, 6)) == 36 * 8 * 27 + 40
