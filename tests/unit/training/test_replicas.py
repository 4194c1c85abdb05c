"""What each replica of a network does for itself; the others are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from pbkd_synthetic import SyntheticSource
from torch import Tensor, nn

from pbkd.data.normalization import Normalization
from pbkd.training.finetune import train_network
from pbkd.training.link import RowRange
from pbkd.training.replicas import ReplicaGroup
from pbkd.training.shared_norm import share_norms
from pbkd.training.training_settings import TrainingSettings
from tests.optimisations import optimisation

if TYPE_CHECKING:
    from collections.abc import Sequence


class Alone:
    """Exchanges with nobody."""

    def gather(self, *values: Tensor, count: int = 0) -> tuple[Tensor, tuple[int, ...]]:
        return torch.cat(values)[None], (count,)

    def add(self, values: Tensor) -> None:
        pass


def dropped(rank: int) -> Sequence[list[int]]:
    """Train two epochs of one step with dropout; return what it drops in each."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 32), nn.Dropout(0.5), nn.Linear(32, 4))
    data = SyntheticSource(classes=4, height=2, width=2, count=20).load()
    found: list[list[int]] = []

    def record(layer: nn.Module, _input: object, output: Tensor) -> None:
        if layer.training:
            found.append((output == 0).flatten().nonzero().flatten().tolist())

    network[2].register_forward_hook(record)
    rows = RowRange(rank, 5 * rank, 5 * rank + 5)
    settings = TrainingSettings(
        epochs=2,
        optimisation=optimisation(0.01),
        batch_size=10,
        seed=3,
        replicas=ReplicaGroup(Alone(), rows, 10),
    )
    train_network(network, data, Normalization.identity(3), settings)
    return found


def test_each_replica_drops_other_values_and_the_same_in_each_run() -> None:
    torch.manual_seed(1)
    first, second = dropped(0), dropped(1)
    torch.manual_seed(2)
    assert dropped(0) == first
    assert dropped(1) == second
    assert len({tuple(found) for found in (*first, *second)}) == 4


@pytest.mark.parametrize("affine", [True, False])
def test_shared_norms_are_torchs_under_autocast(affine: bool) -> None:
    torch.manual_seed(0)
    x, target = torch.randn(16, 3, 6, 6), torch.randn(16, 8, 4, 4)
    norms = [nn.BatchNorm2d(8, affine=affine), nn.BatchNorm2d(8, affine=affine)]
    convolution, found = nn.Conv2d(3, 8, 3), []
    share_norms(norms[1], Alone())
    for norm in norms:
        convolution.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            output = norm(convolution(x))
        (output - target).square().sum().backward()
        gradients = [p.grad for p in (convolution.weight, *norm.parameters())]
        found.append([norm.running_mean, norm.running_var, output, *gradients])
    assert found[0][2].dtype == found[1][2].dtype == torch.bfloat16
    for statistic in (0, 1):  # of bfloat16 values, but not rounded to it
        torch.testing.assert_close(found[0][statistic], found[1][statistic], rtol=1e-5, atol=1e-6)
    for torchs, ours in zip(found[0][2:], found[1][2:], strict=True):
        # Two values of bfloat16 are rounded where torch rounds one: 2 ** -9 each.
        assert (ours - torchs).norm() <= 0.01 * torchs.norm()
