from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from pbkd_joint import Joint
from pbkd_synthetic import SyntheticSource
from torch import Tensor, nn

from pbkd.data.normalization import Normalization
from pbkd.training.applied_loss import AppliedLoss
from pbkd.training.checkpoint import CheckpointStore
from pbkd.training.finetune import NetworkTraining, train_network, train_together
from pbkd.training.training_hooks import TrainingHooks
from pbkd.training.training_settings import TrainingSettings
from tests.optimisations import optimisation

if TYPE_CHECKING:
    from pathlib import Path

HALF = Normalization((0.5,) * 3, (0.5,) * 3)
DATA = SyntheticSource(classes=4, height=6, width=6, count=320).load()
EPOCHS, RATES, CHANNELS = (3, 2, 3), (0.01, 0.01, 10.0), (2, 4, 8)  # the last one explodes


class CountedTeacher(nn.Sequential):
    """Counts its passes."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(*_network(8))
        self.passes = 0
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return super().forward(x)  # type: ignore[no-any-return, no-untyped-call]


def _network(channels: int) -> nn.Sequential:
    torch.manual_seed(channels)
    convolutions = nn.Sequential(nn.Conv2d(3, channels, 3), nn.Conv2d(channels, 8, 1))
    return nn.Sequential(
        convolutions, nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)
    )


def _trainings(teacher: nn.Module) -> list[NetworkTraining]:
    """Three networks of other sizes, with other epochs and rates."""
    return [
        NetworkTraining(
            _network(channels),
            TrainingSettings(
                epochs=epochs,
                optimisation=optimisation(rate),
                batch_size=32,
                seed=0,
                loss=AppliedLoss(Joint(block_weight=1.0), teacher=teacher),
            ),
            TrainingHooks(rate_lowered=lambda _why: None),
        )
        for epochs, rate, channels in zip(EPOCHS, RATES, CHANNELS, strict=True)
    ]


def _alone(teacher: nn.Module) -> list[nn.Module]:
    trainings = _trainings(teacher)
    for each in trainings:
        train_network(each.network, DATA, HALF, each.settings, teacher=teacher, hooks=each.hooks)
    return [each.network for each in trainings]


def _are_equal(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


def test_together_each_network_becomes_what_it_becomes_alone_and_the_teacher_runs_once() -> None:
    teacher = CountedTeacher()
    alone, passes_alone = _alone(teacher), teacher.passes
    teacher.passes = 0
    together = _trainings(teacher)
    best = train_together(together, DATA, HALF, teacher=teacher)
    assert best[2].rate < 1, "the last network explodes, repeats epochs, and catches up"
    for training, network in zip(together, alone, strict=True):
        assert _are_equal(training.network, network)
    assert teacher.passes < 0.6 * passes_alone


def test_networks_that_are_stopped_at_different_epochs_go_on_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbkd.training.checkpoint.STEPS_BETWEEN", 1)
    teacher = CountedTeacher()
    alone = _alone(teacher)

    def kept(index: int, stop_after: int | None) -> TrainingHooks:
        def epoch_finished(epoch: int, _loss: float, _score: float) -> None:
            if epoch == stop_after:
                raise KeyboardInterrupt

        store = CheckpointStore(tmp_path, f"student{index}")
        return TrainingHooks(epoch_finished, store, rate_lowered=lambda _why: None)

    for stop_after in (1, None):  # the first network has a checkpoint of one more epoch
        trainings = [
            replace(each, hooks=kept(index, stop_after if index == 1 else None))
            for index, each in enumerate(_trainings(teacher))
        ]
        if stop_after is None:
            train_together(trainings, DATA, HALF, teacher=teacher)
        else:
            with pytest.raises(KeyboardInterrupt):
                train_together(trainings, DATA, HALF, teacher=teacher)
    for training, network in zip(trainings, alone, strict=True):
        assert _are_equal(training.network, network)
