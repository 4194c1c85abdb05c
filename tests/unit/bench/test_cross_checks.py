from __future__ import annotations

from typing import Any

import pytest

from pbkd.bench.cross_checks import check_predictions, check_steps
from pbkd.bench.result import ProcedureResult, Spread
from pbkd.errors import BenchError


def measured(rank: int, **steps_taken: int) -> dict[str, Any]:
    return {
        "kind": "procedure", "name": "paper", "round": 1, "rank": rank, "steps": 4,
        "steps_taken": steps_taken,
    }  # fmt: skip


def procedure(predicted: float | None) -> ProcedureResult:
    return ProcedureResult(
        name="cache",
        seconds=Spread(0.5, 1.0, 2.0),
        cpu_seconds=1.0,
        peak_bytes=(1,),
        predicted_seconds=predicted,
        joules=None,
        joules_reason=None,
    )


def test_blocks_of_different_ranks_and_of_replicas_count_once() -> None:
    other = {"kind": "costs", "rank": 0}
    check_steps([other, measured(0, a=4, b=4), measured(1, b=4, c=4)], ["a", "b", "c"])


@pytest.mark.parametrize(
    ("ranks", "found"),
    [
        (({"a": 4, "b": 4}, {}), "'c' for 0 of 4"),
        (({"a": 4, "b": 4}, {"c": 8}), "'c' for 8 of 4"),
        (({"a": 4, "b": 4}, {"b": 3, "c": 4}), "'b' for 3 and 4 of 4"),
    ],
)
def test_a_block_that_misses_steps_is_named(ranks: tuple[dict[str, int], ...], found: str) -> None:
    measurements = [measured(rank, **steps) for rank, steps in enumerate(ranks)]
    with pytest.raises(BenchError, match=f"'paper' trained the block {found} steps in round 1"):
        check_steps(measurements, ["a", "b", "c"])


@pytest.mark.parametrize("predicted", [None, 0.76, 1.24])
def test_a_prediction_within_a_quarter_passes(predicted: float | None) -> None:
    check_predictions([procedure(predicted)])


@pytest.mark.parametrize("predicted", [0.0, 0.74, 1.26, float("inf")])
def test_a_prediction_off_by_more_is_named_with_both_figures(predicted: float) -> None:
    with pytest.raises(BenchError, match=rf"cache {predicted:.3f} predicted, 1\.000 measured"):
        check_predictions([procedure(1.0), procedure(predicted)])
