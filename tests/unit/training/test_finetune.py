from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from pbkd_soft_target import SoftTarget
from pbkd_synthetic import SyntheticSource
from torch import nn

from pbkd.data.normalization import Normalization
from pbkd.models.accuracy import accuracy
from pbkd.training.applied_loss import AppliedLoss
from pbkd.training.finetune import TrainingHooks, TrainingSettings, train_network
from tests.optimisations import optimisation

if TYPE_CHECKING:
    from pbkd.data.datasets import Dataset

NORMALIZATION = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def data() -> Dataset:
    return SyntheticSource(classes=4, height=6, width=6, count=320).load()


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4))


def _settings(**changes: float) -> TrainingSettings:
    rate = optimisation(changes.pop("lr", 0.01))
    settings = {"epochs": 3, "batch_size": 32, "seed": 0, **changes}
    return TrainingSettings(optimisation=rate, **settings)  # type: ignore[arg-type]


def test_it_learns_and_returns_its_best_score(data: Dataset) -> None:
    network = _network()
    before = accuracy(network, data.validation, NORMALIZATION, device="cpu")
    scores: list[float] = []
    hooks = TrainingHooks(lambda _epoch, _loss, score: scores.append(score))
    best = train_network(network, data, NORMALIZATION, _settings(), hooks=hooks)
    assert best == max([before, *scores]) > before
    assert accuracy(network, data.validation, NORMALIZATION, device="cpu") == best
    assert not network.training


def test_a_ruinous_rate_leaves_the_network_as_it_was(data: Dataset) -> None:
    network = _network()
    train_network(network, data, NORMALIZATION, _settings(epochs=5))
    before = copy.deepcopy(network.state_dict())
    score = accuracy(network, data.validation, NORMALIZATION, device="cpu")
    assert train_network(network, data, NORMALIZATION, _settings(lr=1e3, epochs=1)) == score
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_the_same_seed_gives_the_same_weights(data: Dataset) -> None:
    networks = _network(), _network()
    for network in networks:
        train_network(network, data, NORMALIZATION, _settings())
    first, second = (network.state_dict() for network in networks)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_soft_targets_pull_towards_the_teacher(data: Dataset) -> None:
    """A teacher that always says class 2: with soft targets alone, so does the student."""

    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([0.0, 0.0, 20.0, 0.0]).repeat(len(x), 1)

    network = _network()
    states: list[torch.Tensor] = []
    images = torch.rand(50, 3, 6, 6)

    def keep(_epoch: int, _loss: float, _score: float) -> None:
        states.append(network(images).argmax(1))

    settings = replace(_settings(epochs=4), loss=AppliedLoss(SoftTarget(soft_weight=1.0)))
    train_network(network, data, NORMALIZATION, settings, teacher=Two(), hooks=TrainingHooks(keep))
    assert (states[-1] == 2).all()


def test_a_score_that_is_known_is_not_measured_again(data: Dataset) -> None:
    network = _network()
    before = copy.deepcopy(network.state_dict())
    hooks = TrainingHooks(initial_score=1.0)
    assert train_network(network, data, NORMALIZATION, _settings(epochs=1), hooks=hooks) == 1.0
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
