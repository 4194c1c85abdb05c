"""The conformance tests for meters and losses find what is wrong."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from torch import Tensor, nn

from pbkd.errors import MeterUnavailableError
from pbkd.protocols import EnergyReading, Loss
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


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (Loss("m", lambda y, t: (y - t).square()), "has the shape"),
        (Loss("m", lambda y, t: (y - t).square().sum()), "not the mean of its halves' errors"),
        (Loss("m", lambda y, t: _mse(y, t).sqrt()), "not the mean of its halves' errors"),
        (Loss("m", _mse, lambda t: t.square().sum()), "scale of a batch is not the mean"),
        (Loss("m", lambda y, t: -_mse(y, t)), "the loss of a perfect output is not below"),
        (Loss("m", lambda y, t: _mse(y.detach(), t)), "no gradient flows to the output"),
        (Loss("m", lambda y, t: _mse(y, t) / 0), "the loss is inf"),
        (Loss("m", lambda y, t: _mse(y.sub_(t), 0 * t)), "changes its output argument"),
        (Loss("m", lambda y, t: _mse(y, t) + t.abs_().sum() * 0), "changes its target argument"),
        (
            Loss("m", lambda y, t: (y - t).flatten(1).norm(dim=1).mean() / t.norm()),
            "halves' errors",
        ),
        (Loss("m", lambda y, t: ((y - t) / t).square().mean()), "is not finite"),
    ],
)
def test_a_loss_that_is_wrong(loss: Loss, told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        check_loss(loss)


@pytest.mark.parametrize(
    "loss",
    [
        Loss("huber", nn.functional.huber_loss),
        Loss("l1", nn.functional.l1_loss),
        Loss("relative", _mse, lambda target: target.abs().mean()),
    ],
    ids=lambda loss: loss.name,
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
