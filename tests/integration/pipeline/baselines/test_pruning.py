from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from pbkd.errors import ConfigError
from pbkd.models.metrics import macs
from pbkd.models.teacher import build_network
from pbkd.pipeline.baselines import pruning
from pbkd.pipeline.baselines.settings import BaselineSettings
from pbkd.pipeline.baselines.train import train_baselines
from pbkd.plugin.registry import Registry
from pbkd.testing.tiny import tiny_teacher
from tests.integration.pipeline.baselines.conftest import Trainings

needs_library = pytest.mark.skipif(
    find_spec("torch_pruning") is None, reason="torch-pruning is not installed"
)


@needs_library
def test_every_layer_loses_the_same_share_until_the_macs_are_met() -> None:
    teacher, images = tiny_teacher(), torch.rand(2, 3, 8, 8)
    before = macs(teacher, (3, 8, 8))
    cost = partial(macs, input_shape=(3, 8, 8))
    pruned = pruning.prune(teacher, images, cost, before / 3)
    assert macs(pruned.network, (3, 8, 8)) == pytest.approx(before / 3, rel=0.15)
    widths = [m.out_channels for m in pruned.network.modules() if isinstance(m, nn.Conv2d)]
    assert widths == [4, 8]
    assert pruned.kept == ("classifier",)
    assert pruned.network(images).shape == (2, 4)
    assert all(p.requires_grad for p in pruned.network.parameters())
    assert macs(teacher, (3, 8, 8)) == before
    whole = pruning.prune(teacher, images, cost, before)
    assert (whole.share, macs(whole.network, (3, 8, 8))) == (0.0, before)


@needs_library
def test_residual_streams_with_padded_shortcuts_keep_their_channels(registry: Registry) -> None:
    teacher = build_network(registry, {"name": "digits-resnet"}).eval()
    cost = partial(macs, input_shape=(1, 8, 8))
    pruned = pruning.prune(teacher, torch.rand(2, 1, 8, 8), cost, cost(teacher) / 2)
    assert cost(pruned.network) == pytest.approx(cost(teacher) / 2, rel=0.1)
    assert set(pruned.kept) == {"conv1", "linear"}


@needs_library
def test_what_cannot_be_pruned_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, images = tiny_teacher(), torch.rand(2, 3, 8, 8)
    cost = partial(macs, input_shape=(3, 8, 8))
    with pytest.raises(ConfigError, match="only .* times cheaper, and the student is 10000.00"):
        pruning.prune(teacher, images, cost, cost(teacher) / 10000)

    def fail(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError("integer division by zero")

    monkeypatch.setattr("torch_pruning.pruner.BasePruner", fail)
    said = r"torch-pruning cannot prune the teacher \(ZeroDivisionError: integer division"
    with pytest.raises(ConfigError, match=said):
        pruning.prune(teacher, images, cost, 5.0)


@needs_library
def test_a_pruned_teacher_is_trained_beside_the_student(
    folder: Path, untrained: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbkd.pipeline.baselines.rivals._slower", _relative_macs)
    settings = BaselineSettings(methods=["pruning"], equal="milliseconds", seconds=2, lr=0.1)
    (row,) = train_baselines(folder, settings).values()
    assert (row.equal, row.network) == ("milliseconds", "the teacher, pruned")
    assert row.macs == macs(untrained.starts[0], (1, 8, 8))
    assert row.notes[0].startswith("Pruning removed ")
    ratio = row.latencies[1].median_seconds / row.student_latencies[1].median_seconds
    assert ("other load on the machine" in row.notes[-1]) == (not 1 / 1.1 < ratio < 1.1)


def _relative_macs(ctx: object, network: nn.Module) -> float:
    student: nn.Module = ctx.student  # type: ignore[attr-defined]
    return macs(network, (1, 8, 8)) / macs(student, (1, 8, 8))


def test_without_the_library_the_extra_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"not installed: pip install 'pbkd\[pruning\]'"):
        train_baselines(folder, BaselineSettings(methods=["pruning"], lr=0.1))
