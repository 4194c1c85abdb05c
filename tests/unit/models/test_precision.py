from __future__ import annotations

import re

import pytest
import torch
from pbkd_squared_error import RelativeSquaredError
from torch import nn

from pbkd.config.load import load_config
from pbkd.errors import ConfigError
from pbkd.models.precision import Autocast, _relative_time, autocast, pick_dtype, precision_note
from pbkd.plugin.registry import Registry
from pbkd.training.applied_loss import AppliedLoss
from pbkd.training.distill import train_block
from pbkd.training.feeds import Lesson
from pbkd.training.learner import new_learner
from pbkd.training.task import build_task
from tests.optimisations import optimisation


def test_none_leaves_a_module_as_it_is() -> None:
    module = nn.Linear(2, 2)
    assert autocast(module, torch.float32) is module


@pytest.mark.parametrize(
    ("name", "device", "message"),
    [
        ("fp16", "cpu", "fp16, which is slow on a CPU: use bf16 or none"),
        ("bf16", "meta", "bf16, which meta does not have: use none"),
    ],
)
def test_a_type_that_the_device_lacks_is_told(name: str, device: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pick_dtype(name, torch.device(device))


@pytest.mark.parametrize(
    ("dtype", "long", "times", "told"),
    [
        (torch.bfloat16, False, 2.0, "takes 2.0 times as long .* autocast=none is faster"),
        (torch.bfloat16, True, 1.05, None),
        (torch.bfloat16, True, 0.5, None),
        (torch.float32, True, 0.26, "takes 0.26 times as long .* autocast=bf16 is likely"),
        (torch.float32, True, 0.9, None),
        (torch.float32, True, 2.0, None),
        (torch.float32, False, 0.26, None),
    ],
)
def test_a_faster_precision_is_told(
    dtype: torch.dtype,
    long: bool,
    times: float,
    told: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pbkd.models.precision._relative_time", lambda _dtype: times)
    note = precision_note(dtype, torch.device("cpu"), long=long)
    assert re.search(told, note or "") if told else note is None
    assert precision_note(dtype, torch.device("meta"), long=long) is None


def test_a_convolution_is_timed_in_both_types() -> None:
    assert 0.01 < _relative_time(torch.bfloat16) < 100


def test_the_feeding_chain_is_close_to_the_full_one_with_rounded_weights(
    registry: Registry,
) -> None:
    task = build_task(load_config(["autocast=bf16"]), registry, "cpu")
    x = task.feed_input(task.data.train.images(torch.arange(64)))
    with torch.no_grad():
        y = task.feeding(x)
        expected = task.fused(x.float())
        for segment in task.fused:
            x = autocast(segment, torch.bfloat16)(x)
    assert torch.equal(y, x), "weights are rounded once, as they would be in every pass"
    assert y.dtype == torch.bfloat16
    assert (y.argmax(1) == expected.argmax(1)).float().mean() > 0.95


def test_a_block_learns_in_half_precision_with_weights_in_full() -> None:
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU())
    x = torch.randn(16, 3, 4, 4).to(torch.bfloat16)
    target = torch.randn(16, 8, 4, 4).relu().to(torch.bfloat16)
    own = new_learner(block, optimisation(0.03), steps=30, dtype=torch.bfloat16)
    assert isinstance(own.forward, Autocast)
    lesson, nmse = Lesson("", x, target, x), AppliedLoss(RelativeSquaredError())
    losses = [train_block(own, lesson, nmse) for _ in range(30)]
    assert losses[0][0].dtype == torch.bfloat16
    assert float(losses[-1][1]) < 0.8 * float(losses[0][1])
    assert {tensor.dtype for tensor in block.parameters()} == {torch.float32}
