from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import pytest
import torch
from pbkd_soft_target import SoftTarget
from pbkd_synthetic import SyntheticSource
from torch import Tensor, nn

from pbkd.data.batching import shuffled_batches
from pbkd.data.normalization import Normalization
from pbkd.models.accuracy import accuracy, share_correct
from pbkd.training.applied_loss import AppliedLoss
from pbkd.training.checkpoint import CheckpointStore
from pbkd.training.finetune import train_network
from pbkd.training.training_hooks import TrainingHooks
from pbkd.training.training_settings import TrainingSettings
from tests.optimisations import optimisation

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.data.datasets import Dataset
    from pbkd.training.throughput import Pace

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


def test_it_learns_and_returns_the_score_that_it_keeps(data: Dataset) -> None:
    network = _network()
    before = accuracy(network, data.validation, NORMALIZATION, device="cpu")
    scores: list[float] = []
    hooks = TrainingHooks(lambda _epoch, _loss, score: scores.append(score))
    best = train_network(network, data, NORMALIZATION, _settings(), hooks=hooks)
    assert best.score == scores[best.epoch - 1] > before
    assert accuracy(network, data.validation, NORMALIZATION, device="cpu") == best.score
    assert not network.training


def test_a_ruinous_rate_leaves_the_network_as_it_was(data: Dataset) -> None:
    network = _network()
    train_network(network, data, NORMALIZATION, _settings(epochs=5))
    before = copy.deepcopy(network.state_dict())
    score = accuracy(network, data.validation, NORMALIZATION, device="cpu")
    best = train_network(network, data, NORMALIZATION, _settings(lr=1e3, epochs=1))
    assert best.score == score
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_a_training_that_explodes_goes_on_from_its_best_state_at_a_lower_rate(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbkd.training.checkpoint.STEPS_BETWEEN", 1)
    whole = _network()
    before = train_network(whole, data, NORMALIZATION, _settings(epochs=1)).score
    interrupted = copy.deepcopy(whole)
    notes: list[str] = []
    hooks = TrainingHooks(rate_lowered=notes.append)
    best = train_network(whole, data, NORMALIZATION, _settings(lr=10), hooks=hooks)
    assert best.rate == pytest.approx(0.01)
    assert best.score > before
    assert len(notes) == 2
    assert notes[0].startswith("Epoch 1 exploded (its loss rose from ")
    assert notes[0].endswith("repeated from the best state, with the learning rate 1.")

    def stop(epoch: int, _loss: float, _score: float) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    kept = replace(hooks, checkpoints=CheckpointStore(tmp_path, "student"))
    with pytest.raises(KeyboardInterrupt):
        stopped = replace(kept, epoch_finished=stop)
        train_network(interrupted, data, NORMALIZATION, _settings(lr=10), hooks=stopped)
    train_network(interrupted, data, NORMALIZATION, _settings(lr=10), hooks=kept)
    assert len(notes) == 4, "the resumed training knows its lower rate"
    assert all(torch.equal(whole.state_dict()[n], t) for n, t in interrupted.state_dict().items())


def test_an_epoch_that_ruins_the_score_is_repeated_too(data: Dataset) -> None:
    """Of a loss that is always small, only the score tells."""
    network = _network()
    before = train_network(network, data, NORMALIZATION, _settings(epochs=2)).score
    notes: list[str] = []
    settings = replace(_settings(lr=10, epochs=1), loss=AppliedLoss(_Small()))
    hooks = TrainingHooks(rate_lowered=notes.append)
    best = train_network(network, data, NORMALIZATION, settings, teacher=network, hooks=hooks)
    assert best.rate < 1
    assert best.score == before
    assert "its validation score fell from" in notes[0]


class _Small:
    """A loss below 0.1 that pulls the first logit down and pushes the others up."""

    name: ClassVar[str] = "small"

    def error(self, output: Tensor, target: Tensor) -> Tensor:  # noqa: ARG002
        return 0.1 * torch.cat([output[:, :1], -output[:, 1:]], 1).sigmoid().mean()


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
    best = train_network(network, data, NORMALIZATION, _settings(epochs=1), hooks=hooks)
    assert best.score == 1.0
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_a_round_goes_on_from_the_best_state_with_a_schedule_of_its_own(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbkd.training.checkpoint.STEPS_BETWEEN", 1)
    whole, apart = _network(), _network()
    begun: list[int] = []

    def pace(epoch: int, _steps: int) -> Pace:
        begun.append(epoch)
        return iter

    hooks = TrainingHooks(checkpoints=CheckpointStore(tmp_path, "student"), start_pace=pace)
    train_network(whole, data, NORMALIZATION, _settings(epochs=1), hooks=hooks)
    apart.load_state_dict(whole.state_dict())
    best = train_network(whole, data, NORMALIZATION, _settings(epochs=3, begun=1), hooks=hooks)
    assert best.epochs == 3
    assert begun == [0, 1]
    # Only the order of the images tells it from a training of two epochs.
    monkeypatch.setattr(
        "pbkd.training.finetune.shuffled_batches",
        lambda *args, epoch, **options: shuffled_batches(*args, epoch=epoch + 1, **options),
    )
    train_network(apart, data, NORMALIZATION, _settings(epochs=2))
    assert all(torch.equal(whole.state_dict()[n], t) for n, t in apart.state_dict().items())


def test_a_round_that_is_stopped_is_resumed_to_the_same_state(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbkd.training.checkpoint.STEPS_BETWEEN", 1)
    states = []
    for stops in (False, True):
        network = _network()
        hooks = TrainingHooks(checkpoints=CheckpointStore(tmp_path / str(stops), "student"))
        train_network(network, data, NORMALIZATION, _settings(epochs=1), hooks=hooks)
        settings = _settings(epochs=4, begun=1)
        if stops:
            with pytest.raises(KeyboardInterrupt):
                train_network(
                    network, data, NORMALIZATION, settings,
                    hooks=replace(hooks, epoch_finished=_stop_after_three),
                )  # fmt: skip
            network = _network()
        best = train_network(network, data, NORMALIZATION, settings, hooks=hooks)
        assert best.classes is not None
        assert share_correct(best.classes, data.validation) == best.score
        states.append(network.state_dict())
    assert all(torch.equal(states[0][name], tensor) for name, tensor in states[1].items())


def _stop_after_three(epoch: int, _loss: float, _score: float) -> None:
    if epoch == 2:
        raise KeyboardInterrupt
