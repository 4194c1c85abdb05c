from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from pbkd.models.accuracy import accuracy
from pbkd.pipeline.baselines import train, trainings
from pbkd.pipeline.baselines.epoch_cost import Spent
from pbkd.training.best_state import BestState
from pbkd.training.training_hooks import TrainingHooks
from pbkd.training.training_settings import TrainingSettings


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to write to."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@dataclass
class Trainings:
    """The calls of `train_network`, which train nothing."""

    calls: list[tuple[TrainingSettings, nn.Module | None]] = field(default_factory=list)
    starts: list[nn.Module] = field(default_factory=list)
    validation: dict[float, float] = field(default_factory=dict)

    def __call__(
        self,
        network: nn.Module,
        data: Any,
        normalization: Any,
        settings: TrainingSettings,
        *,
        teacher: nn.Module | None,
        hooks: TrainingHooks,
    ) -> BestState:
        self.calls.append((settings, teacher))
        assert hooks.initial_score == -1.0  # the state before training does not compete
        self.starts.append(copy.deepcopy(network))
        steps = len(data.train) // settings.batch_size
        pace = hooks.start_pace(0, steps)
        score = accuracy(network, data.validation, normalization, device="cpu")
        score = self.validation.get(settings.optimisation.lr, score)
        for epoch in range(settings.epochs):
            assert len(list(pace(range(steps)))) == steps
            hooks.epoch_finished(epoch, 1.5, score)
        return BestState(settings.epochs, score, {})


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    """Nothing is trained, an epoch costs 2 CPU seconds, and latencies are measured once."""
    spy = Trainings()
    monkeypatch.setattr(trainings, "train_network", spy)
    monkeypatch.setattr(trainings, "epoch_cost", lambda *_: Spent(1.0, 2.0))
    monkeypatch.setattr(train, "_PASSES", 1)
    return spy
