from __future__ import annotations

import copy
import time

import pytest
import torch
from pbkd_squared_error import SquaredError
from torch import Tensor, nn

from pbkd.models.precision import autocast
from pbkd.planning.profiling import measure_costs, overhead_share
from pbkd.training.applied_loss import apply_to_blocks
from pbkd.training.learner import BlockMethod
from tests.optimisations import optimisation


def mse(chain: nn.Sequential) -> BlockMethod:
    return BlockMethod(apply_to_blocks(SquaredError(), chain), optimisation(0.001))


class _Slow(nn.Module):
    """A linear layer that takes so many seconds forward."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.seconds = seconds

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(self.seconds)
        result: Tensor = self.linear(x)
        return result


def test_costs_are_those_of_prefix_block_and_training() -> None:
    chain = nn.Sequential()
    for name, seconds in [("stem", 0.01), ("one", 0.02), ("two", 0.03)]:
        chain.add_module(name, _Slow(seconds))
    chain.requires_grad_(False)
    costs = measure_costs(
        chain, {"one": _Slow(0.04), "two": _Slow(0.0)}, torch.rand(2, 4), mse(chain)
    )
    one, two = costs.blocks
    assert (one.name, two.name) == ("one", "two")
    # A sleep never ends early; on a busy machine it may end late.
    assert one.prefix_seconds == pytest.approx(0.01, rel=0.5)
    assert one.teacher_seconds == pytest.approx(0.02, rel=0.5)
    assert one.train_seconds >= 0.04
    assert two.prefix_seconds == pytest.approx(one.prefix_seconds + one.teacher_seconds)
    assert list(costs.segments) == ["stem", "one", "two"]
    assert costs.segments["two"] == two.teacher_seconds
    assert costs.replacements["one"] == pytest.approx(0.04, rel=0.5)


def test_overhead_is_what_a_smaller_batch_does_not_save() -> None:
    chain = nn.Sequential()
    chain.add_module("one", _Slow(0.02))
    chain.requires_grad_(False)
    (cost,) = measure_costs(chain, {"one": _Slow(0.04)}, torch.rand(32, 4), mse(chain)).blocks
    # A sleep does not depend on the batch, so nearly all of both is overhead.
    assert cost.overhead_seconds == pytest.approx(0.06, rel=0.4)
    (alone,) = measure_costs(chain, {"one": _Slow(0.04)}, torch.rand(8, 4), mse(chain)).blocks
    assert alone.overhead_seconds == 0  # an eighth of it is no batch


def test_measuring_trains_nothing() -> None:
    chain = nn.Sequential()
    chain.add_module("one", nn.Linear(4, 4).requires_grad_(False))
    replacement = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    before = copy.deepcopy(replacement.state_dict())
    measure_costs(chain, {"one": replacement}, torch.rand(2, 4), mse(chain))
    after = replacement.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_an_offset_changes_the_order_of_measuring_and_nothing_else() -> None:
    order: list[str] = []

    class Witness(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4).requires_grad_(False)
            self.name = name

        def forward(self, x: Tensor) -> Tensor:
            order.append(self.name)
            result: Tensor = self.linear(x)
            return result

    chain = nn.Sequential()
    for name in "abc":
        chain.add_module(name, Witness(name))
    replacements = {name: nn.Linear(4, 4) for name in "abc"}
    images = torch.rand(2, 4)
    costs = measure_costs(chain, replacements, images, mse(chain), offset=2).blocks
    assert [cost.name for cost in costs] == ["a", "b", "c"]
    # On the way to `c` the others run once; measured, each runs six times.
    assert "".join(order) == "ab" + "c" * 6 + "a" * 6 + "b" * 6
    assert costs[2].prefix_seconds == costs[1].prefix_seconds + costs[1].teacher_seconds


def test_replacements_are_measured_in_the_precision_of_the_run() -> None:
    chain, dtype = nn.Sequential(autocast(nn.Linear(4, 4), torch.bfloat16)), torch.bfloat16
    losses = apply_to_blocks(SquaredError(), chain)
    method = BlockMethod(losses, optimisation(0.001), dtype)
    costs = measure_costs(chain, {"0": nn.Linear(4, 4)}, torch.rand(2, 4).to(dtype), method)
    assert costs.replacements["0"] > 0


def test_the_overhead_of_a_step_is_what_an_eighth_of_the_batch_does_not_save() -> None:
    def step(rows: int) -> None:
        time.sleep(0.008 + 0.0005 * rows)

    cpu = torch.device("cpu")
    assert overhead_share(step, 64, cpu) == pytest.approx(0.008 / 0.040, rel=0.3)
    assert overhead_share(step, 15, cpu) == 0  # too few to tell
