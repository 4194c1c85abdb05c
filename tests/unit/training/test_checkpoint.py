"""Checkpoints: when they are due, what is kept, that training goes on bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from pbkd_adamw import AdamWBuilder
from pbkd_sgd import SgdBuilder

from pbkd.errors import CheckpointError
from pbkd.training.checkpoint import CheckpointStore, is_checkpoint_due, restore, snapshot
from pbkd.training.learner import new_learner
from tests.optimisations import optimisation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pbkd.protocols import OptimiserBuilder


def test_checkpoints_lie_at_least_so_many_steps_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbkd.training.checkpoint.STEPS_BETWEEN", 50)
    assert [e for e in range(1, 13) if is_checkpoint_due(e, 12, 16)] == [4, 8]
    assert [e for e in range(1, 4) if is_checkpoint_due(e, 3, 700)] == [1, 2]


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    kept = CheckpointStore(tmp_path, "a.b")
    other = CheckpointStore(tmp_path, "a")
    for epoch in (1, 2, 9, 3):
        kept.write(epoch, {"x": torch.full((2, 2), epoch)}, {"note": epoch})
    other.write(7, {"x": torch.zeros(1)}, {})
    assert kept.epochs() == [3, 2]
    assert other.epochs() == [7]
    tensors, facts = kept.read(3)
    assert torch.equal(tensors["x"], torch.full((2, 2), 3))
    assert facts == {"note": 3}
    with pytest.raises(CheckpointError, match="there is no file"):
        kept.read(1)


@pytest.mark.parametrize(
    "optimiser", [AdamWBuilder(), SgdBuilder()], ids=lambda optimiser: optimiser.name
)
def test_a_training_goes_on_bit_by_bit_from_its_snapshot(
    tmp_path: Path, optimiser: OptimiserBuilder
) -> None:
    def steps(learner: Any, numbers: Iterator[int]) -> None:
        for number in numbers:
            x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(number))
            learner.optimiser.zero_grad()
            learner.replacement(x).square().mean().backward()
            learner.optimiser.step()
            learner.rate.step()

    def learner() -> Any:
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
        network = network.to(memory_format=torch.channels_last)
        return new_learner(network, optimisation(0.01, 0.1, optimiser), steps=20)

    whole, half, rest = learner(), learner(), learner()
    steps(whole, iter(range(20)))
    steps(half, iter(range(9)))
    CheckpointStore(tmp_path, "half").write(9, *snapshot(half))
    restore(*CheckpointStore(tmp_path, "half").read(9), rest)
    steps(rest, iter(range(9, 20)))
    for name, tensor in whole.replacement.state_dict().items():
        assert torch.equal(tensor, rest.replacement.state_dict()[name]), name
