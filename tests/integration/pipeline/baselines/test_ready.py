from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pbkd.errors import ConfigError
from pbkd.pipeline.baselines.ready import ready_network
from pbkd.pipeline.baselines.settings import BaselineSettings
from pbkd.pipeline.baselines.train import train_baselines
from pbkd.plugin.registry import Registry
from pbkd.training.task import DistillationTask
from tests.integration.pipeline.baselines.conftest import Trainings


def test_a_ready_network_that_was_named_is_scored_and_not_trained(
    folder: Path, untrained: Trainings
) -> None:
    named = BaselineSettings(methods=["ready"], overrides=["ready=digits-resnet"], seconds=1)
    (row,) = train_baselines(folder, named).values()
    assert (row.network, row.equal, row.epochs, row.seconds) == ("digits-resnet", "nothing", 0, 0)
    assert row.score > 0.9
    assert row.trainings[0].change.images == 360
    assert not untrained.calls


def test_the_zoos_network_of_the_students_size_is_chosen(
    registry: Registry, digits: DistillationTask
) -> None:
    found = ready_network(registry, digits, 10**9, None)
    assert found.name == "digits-resnet"  # the teacher itself is none
    with pytest.raises(ConfigError, match="no ready network has input 1x8x8, 10 classes, weights"):
        ready_network(registry, digits, 1000, None)
    hundred = replace(digits, data=replace(digits.data, num_classes=100))
    with pytest.raises(ConfigError, match="no ready network has input 1x8x8, 100 classes"):
        ready_network(registry, hundred, 10**9, None)
    with pytest.raises(ConfigError, match=r"cannot be loaded \(the teacher 'vgg16' has no trained"):
        ready_network(registry, digits, 1, {"name": "vgg16"})
    with pytest.raises(ConfigError, match="does not turn images of 1x8x8 into logits of 100"):
        ready_network(registry, hundred, 1, {"name": "digits-resnet"})
