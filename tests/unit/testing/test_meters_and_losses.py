"""The conformance tests for meters and losses find what is wrong."""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from pbkd.errors import MeterUnavailableError, PluginError
from pbkd.protocols import EnergyReading, Loss, LossContext
from pbkd.testing import (
    FakeMeter,
    check_loss,
    check_meter,
    meters,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def test_a_meter_that_closes_and_opens_again_is_good(fake_meter: FakeMeter) -> None:
    check_meter(fake_meter)
    assert fake_meter.closed
    assert len(fake_meter.reads) == 6


def _mse(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().mean()


class _Made:
    """A loss of functions."""

    name = "made"

    def __init__(self, error: Any, scale: Any = None, **attributes: object) -> None:
        vars(self).update(error=error, scale=scale, **attributes)


def _pairwise(output: Tensor, target: Tensor) -> Tensor:
    return _mse(torch.pdist(output.flatten(1)), torch.pdist(target.flatten(1)))


def _mean_of_features(output: Tensor, target: Tensor, context: LossContext) -> Tensor:
    apart = context.features["a"] - context.teacher_features["a"]
    return _mse(output, target) + apart.square().mean()


def _counting() -> Callable[[Tensor, Tensor], Tensor]:
    calls = itertools.count(1)
    return lambda y, t: _mse(y, t) * next(calls)


def _remembering() -> Callable[[Tensor, Tensor], Tensor]:
    seen: list[Tensor] = []

    def error(output: Tensor, target: Tensor) -> Tensor:
        seen.append(_mse(output, target))
        return torch.stack(seen).sum()

    return error


def _doubling(output: Tensor, target: Tensor) -> Tensor:
    torch.set_default_dtype(torch.float64)
    return _mse(output, target)


class _Learning(nn.Linear):
    name = "learning"

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        return _mse(output, target)


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (_Learning(1, 1), "it has parameters, which nothing trains"),
        (_Made(lambda y, t: (y - t).square()), r"a tensor of shape \(8, 3, 5, 5\), not \(\)"),
        (_Made(lambda y, t: _mse(y, t).item()), "error returns float, not a tensor"),
        (_Made(lambda y, t: (y - t).backward), "error returns method, not a tensor"),
        (_Made(lambda y, t: (y - t).square().sum()), "not the mean of its halves' errors"),
        (_Made(lambda y, t: _mse(y, t).sqrt()), "not the mean of its halves' errors"),
        (_Made(_pairwise), "or declare additive = False"),
        (_Made(_mse, lambda t: t.square().sum()), "scale of a batch is not the mean"),
        (_Made(_mse, lambda t: t.mean().item()), "scale returns float, not a tensor"),
        (_Made(lambda y, t: -_mse(y, t)), "the loss of a perfect output is not below"),
        (_Made(lambda y, t: _mse(y.detach(), t)), "a value without a gradient"),
        (_Made(lambda y, t: _mse(y, t) / 0), "it is inf for finite activations"),
        (_Made(lambda y, t: _mse(y, t) * float("nan")), "it is nan for finite activations"),
        (_Made(lambda y, t: _mse(y.sub_(t), 0 * t)), "changes an argument in place"),
        (_Made(lambda y, t: _mse(y, t) + t.abs_().sum() * 0), "changes an argument in place"),
        (_Made(lambda y, t: _mse(y, t) + t.data.mul_(2).sum() * 0), "changes an argument in place"),
        (_Made(_mse, lambda t: t.abs_().mean()), "scale changes its argument in place"),
        (
            _Made(lambda y, t: (y - t).flatten(1).norm(dim=1).mean() / t.norm()),
            "halves' errors",
        ),
        (_Made(lambda y, t: ((y - t) / t).square().mean()), "is not finite"),
        (_Made(_counting()), "must keep nothing between calls"),
        (_Made(lambda y, t: _mse(y, t) * (1 + torch.rand(()) / 1e9)), "global generator"),
        (_Made(lambda y, t: torch.complex(y - t, t).mean()), "failed in the gradient of error"),
        (
            _Made(_remembering()),
            "failed in the gradient of error .RuntimeError: Trying to backward",
        ),
        (_Made(lambda y, t: _mse((y - y[:1]).pow(0.5), t)), "it is nan for finite"),
        (_Made(lambda y, t: _mse((y - y).abs().sqrt(), t)), "its gradient is not finite"),
        (_Made(_doubling), "it leaves torch in another mode"),
        (_Made(lambda y: y.mean()), "error must take .output, target., or"),
        (_Made(lambda y, t, extra: _mse(y, t) * extra), "error must take .output, target., or"),
        (_Made(_mse, lambda: 1), "scale must be a method that takes the target"),
        (_Made(_mse, 2.0), "scale must be a method that takes the target"),
        (_Made(_mse, additive="no"), "additive is 'no', not True or False"),
        (_Made(_mean_of_features, features="a"), "features is 'a', not a tuple of names"),
        (_Made(_mean_of_features, features=(1,)), "not a tuple of names"),
        (_Made(_mse, features=("a",)), "its method error takes no argument `context`"),
        (_Made(_mean_of_features), r"failed in error \(KeyError: 'a'\)"),
    ],
)
def test_a_loss_that_is_wrong(loss: Loss, told: str) -> None:
    with pytest.raises((AssertionError, PluginError), match=told):
        check_loss(loss)


@pytest.mark.parametrize(
    "loss",
    [
        _Made(nn.functional.huber_loss),
        _Made(nn.functional.l1_loss),
        _Made(_mse, lambda target: target.abs().mean()),
        _Made(_pairwise, additive=False),
        _Made(_mean_of_features, features=("a",)),
    ],
)
def test_a_loss_that_is_right(loss: Loss) -> None:
    check_loss(loss)


class _Falling(FakeMeter):
    def read(self) -> EnergyReading:
        self.joules["gpu0"] -= 1
        return super().read()


class _Once(FakeMeter):
    @contextmanager
    def open(self) -> Iterator[Callable[[], EnergyReading]]:
        if self.closed:
            raise MeterUnavailableError("taken.")
        with super().open() as read:
            yield read


class _Dict(FakeMeter):
    def read(self) -> Any:
        return {"gpu0": 1.0}


class _Endless(FakeMeter):
    def read(self) -> EnergyReading:
        time.sleep(3)
        return super().read()


@pytest.mark.parametrize(
    ("meter", "told"),
    [
        (_Falling(), "gpu0 runs backwards"),
        (_Once(), "cannot be opened a second time"),
        (_Dict(), "a reading is a dict, not a pbkd.EnergyReading"),
        (_Endless(), "did not open, return 3 readings and close within 0.2 s"),
        (FakeMeter({}), "an open meter has no domain"),
        (FakeMeter({"gpu0": float("nan")}), "gpu0 has nan joules"),
        (FakeMeter(estimates={"gpu0": "a guess"}), "gpu0 is an estimate, so its name must"),
        (FakeMeter(unavailable=MeterUnavailableError()), "must have a message"),
        (FakeMeter(failure=OSError("unplugged")), "the meter fails .OSError: unplugged"),
        (FakeMeter(close_failure=OSError("stuck")), "the meter fails .OSError: stuck"),
    ],
    ids=str,
)
def test_a_meter_that_is_wrong(
    meter: FakeMeter, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meters, "_TIMEOUT", 0.2)
    with pytest.raises(AssertionError, match=told):
        check_meter(meter)
