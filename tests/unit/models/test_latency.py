from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from pbkd.errors import ConfigError
from pbkd.models.latency import expected_seconds, latencies

if TYPE_CHECKING:
    from collections.abc import Iterable


class Recorder(nn.Module):
    """Writes its name into a shared log at every pass."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__()
        self.called = name
        self.log = log

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.log.append(self.called)
        return x


def test_the_models_take_turns() -> None:
    log: list[str] = []
    models = {"teacher": Recorder("teacher", log), "student": Recorder("student", log)}
    found = latencies(models, torch.rand(6, 1, 4, 4), repeats=5)
    assert list(found) == ["teacher", "student"]
    assert log == ["teacher", "student"] * (len(log) // 2)
    assert len(log) > 10  # some passes are warm-up


def test_latencies_are_seconds_of_the_whole_batch() -> None:
    small, large = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 64, 7, padding=3)
    found = latencies({"small": small, "large": large}, torch.rand(6, 8, 24, 24), repeats=9)
    for latency in found.values():
        assert 0 < latency.median_seconds <= latency.p95_seconds
        assert (latency.batch, latency.repeats) == (6, 9)
    # 392 times the MACs.
    assert found["small"].median_seconds < found["large"].median_seconds


def test_median_and_p95_are_those_of_the_timed_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 9.0, 0.0, 1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0, 5.0])
    monkeypatch.setattr("pbkd.models.latency.time.perf_counter", lambda: next(clock))
    found = latencies({"model": nn.Identity()}, torch.rand(1, 1), repeats=5)["model"]
    assert found.median_seconds == 3.0
    assert found.p95_seconds == pytest.approx(4.8)


def test_timing_no_pass_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="0 times"):
        latencies({"model": nn.Identity()}, torch.rand(1, 1), repeats=0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock with one hand, which only networks move."""
    now = [0.0]
    monkeypatch.setattr("pbkd.models.latency.time.perf_counter", lambda: now[0])
    return now


class Slow(nn.Module):
    """Takes, by the clock, one after another of some durations."""

    def __init__(self, clock: list[float], seconds: Iterable[float]) -> None:
        super().__init__()
        self.clock = clock
        self.seconds = cycle(seconds)

    def forward(self, x: Tensor) -> Tensor:
        self.clock[0] += next(self.seconds)
        return x


IMAGE = torch.rand(1, 1)


def test_steady_passes_are_repeated_until_a_tenth_of_a_second_is_over(clock: list[float]) -> None:
    found = latencies({"model": Slow(clock, [0.01])}, IMAGE)["model"]
    assert found.repeats in (10, 11)  # rounding
    assert found.median_seconds == pytest.approx(0.01)


@pytest.mark.parametrize(("teacher", "student", "repeats"), [(0.1, 0.05, 5), (0.5, 0.3, 3)])
def test_slow_passes_are_repeated_a_few_times_after_one_that_warms_up(
    clock: list[float], teacher: float, student: float, repeats: int
) -> None:
    models = {"teacher": Slow(clock, [teacher]), "student": Slow(clock, [student])}
    assert {latency.repeats for latency in latencies(models, IMAGE).values()} == {repeats}
    assert clock[0] == pytest.approx((1 + repeats) * (teacher + student))
    assert expected_seconds(teacher + student) == pytest.approx(clock[0])


def test_fast_passes_are_repeated_thirty_times(clock: list[float]) -> None:
    assert latencies({"model": Slow(clock, [1e-4])}, IMAGE)["model"].repeats == 30
    assert clock[0] == pytest.approx(expected_seconds(1e-4))


@pytest.mark.parametrize(
    ("seconds", "repeats"),
    [
        ([0.03, 0.0301, 0.0299], 5),  # within 5 %
        ([0.02, 0.03], 30),  # the interval of the median stays wide
        ([0.1, 0.15], 8),  # until a second is over
        ([0.03] * 7 + [0.3], 11),  # a straggler among five passes
    ],
)
def test_noisy_passes_are_repeated_until_the_median_is_precise(
    clock: list[float], seconds: list[float], repeats: int
) -> None:
    assert latencies({"model": Slow(clock, seconds)}, IMAGE)["model"].repeats == repeats


def test_one_noisy_network_has_all_of_them_repeated(clock: list[float]) -> None:
    models = {"steady": Slow(clock, [0.01]), "noisy": Slow(clock, [0.01, 0.015])}
    assert {latency.repeats for latency in latencies(models, IMAGE).values()} == {30}
