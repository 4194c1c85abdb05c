"""What is said of a wish for cost: the figure tells whether it is kept."""

from __future__ import annotations

import pytest

from pbkd.config.schema import TargetConfig
from pbkd.core.results import Latency, NetworkResult
from pbkd.pipeline.wishes import cost_wishes


def network(seconds: float, macs: int) -> NetworkResult:
    latency = Latency(seconds, seconds, batch=16, repeats=5)
    return NetworkResult(
        name="network", accuracy=0.9, parameters=100, macs=macs, latencies=(latency,)
    )


@pytest.mark.parametrize(
    ("speedup", "macs", "told"),
    [
        (1.2968, 300, ["is 1.297 times as fast", "has 0.300 of the teacher's MACs"]),
        (1.3004, 301, ["is 1.30 times as fast", "has 0.301 of the teacher's MACs"]),
        (1.25, 3000, ["is 1.25 times as fast", "has 3.000 of the teacher's MACs"]),
    ],
)
def test_a_figure_that_misses_a_wish_does_not_look_like_it(
    speedup: float, macs: int, told: list[str]
) -> None:
    target = TargetConfig(speedup=1.3, macs=0.3)
    wishes = cost_wishes(target, network(speedup, 1000), network(1.0, macs), 16)
    assert [wish.is_met for wish in wishes] == [speedup > 1.3, macs == 300]
    for wish, text in zip(wishes, told, strict=True):
        assert text in wish.what
