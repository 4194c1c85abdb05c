from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from pbkd.training.step_times import FEWEST_STEPS, StepTimes

CPU = torch.device("cpu")


class Slow(nn.Module):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds)
        return x


def run(times: StepTimes, chain: nn.Module, steps: int) -> None:
    for step in times.epoch(range(steps)):
        chain(torch.zeros(1))
        with times.train("b"):
            time.sleep(0.2 if step == 0 else 0.004)  # the first step warms up


def test_segments_and_training_are_timed_after_a_warm_up() -> None:
    chain, done = nn.Sequential(Slow(0.002), Slow(0.0)), list[StepTimes]()
    run(StepTimes(chain, CPU, done.append), chain, 20)
    (times,) = done
    assert times.training == {"b": pytest.approx(0.004, rel=0.5)}
    assert times.teacher["0"] == pytest.approx(0.002, rel=0.5)
    assert times.teacher["1"] < 0.001
    assert not chain[0]._forward_hooks and not chain[0]._forward_pre_hooks


@pytest.mark.parametrize(("steps", "count"), [(FEWEST_STEPS - 1, 0), (FEWEST_STEPS, 1)])
def test_an_epoch_of_few_steps_is_timed_as_far_as_it_goes(steps: int, count: int) -> None:
    chain, done = nn.Sequential(nn.Identity()), list[StepTimes]()
    times = StepTimes(chain, CPU, done.append)
    for _ in times.epoch(range(steps)):
        chain(torch.zeros(1))
    assert len(done) == count
    assert not chain[0]._forward_hooks
