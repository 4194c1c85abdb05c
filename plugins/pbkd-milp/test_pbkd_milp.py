from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from pbkd_milp import MilpSelector, register_selectors

from pbkd.protocols import BlockOption
from pbkd.testing import check_selector

OPTIONS = {
    "a": [BlockOption(None, 0.0, {"macs": 10}), BlockOption("a", 0.5, {"macs": 1})],
    "b": [
        BlockOption(None, 0.0, {"macs": 10}),
        BlockOption("b", 0.4, {"macs": 2}),
        BlockOption("b.1", 0.1, {"macs": 5}),
    ],
}


def test_it_keeps_the_contract() -> None:
    check_selector(MilpSelector())


def picked(limit: float) -> list[str | None] | None:
    found = MilpSelector().select(OPTIONS, {"macs": limit})
    return None if found is None else [option.name for option in found.values()]


def test_the_least_harm_that_fits() -> None:
    assert picked(20) == [None, None]
    assert picked(15) == [None, "b.1"]  # 0.1 of harm; a alone replaced would be 0.5
    assert picked(12) == [None, "b"]
    assert picked(11) == ["a", None]
    assert picked(6) == ["a", "b.1"]
    assert picked(3) == ["a", "b"]
    assert picked(2.9) is None


def test_without_limits_nothing_is_replaced() -> None:
    assert MilpSelector().select(OPTIONS, {}) == {"a": OPTIONS["a"][0], "b": OPTIONS["b"][0]}


figures = st.floats(0, 1e9)
some_options = st.lists(st.tuples(figures, figures, figures), min_size=1, max_size=4)


@settings(max_examples=150)
@given(st.lists(some_options, min_size=1, max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_no_other_choice_within_the_limits_does_less_harm(
    table: list[list[tuple[float, float, float]]], macs: float, milliseconds: float
) -> None:
    options = {
        str(block): [
            BlockOption(f"{block}.{index}", harm, {"macs": one, "latency_ms": two})
            for index, (harm, one, two) in enumerate(rows)
        ]
        for block, rows in enumerate(table)
    }
    limits = {"macs": macs * 2e9, "latency_ms": milliseconds * 2e9}

    def total(taken: tuple[BlockOption, ...], key: str) -> float:
        return sum(option.costs[key] for option in taken)

    def fits(taken: tuple[BlockOption, ...], slack: float) -> bool:
        return all(
            total(taken, key) <= limit * (1 + slack) + slack for key, limit in limits.items()
        )

    def harm(taken: tuple[BlockOption, ...]) -> float:
        return sum(option.harm for option in taken)

    every = list(product(*options.values()))
    found = MilpSelector().select(options, limits)
    # The solver takes a constraint as kept within 1e-6, and an optimum as found within 1e-4 of it.
    if found is None:
        assert not any(fits(taken, -1e-6) for taken in every)
        return
    assert list(found) == list(options)
    mine = tuple(found.values())
    assert fits(mine, 2e-6)
    least = min((harm(taken) for taken in every if fits(taken, -1e-6)), default=harm(mine))
    assert harm(mine) <= least * (1 + 2e-4) + 1e-6


def test_it_is_registered() -> None:
    assert register_selectors() == [MilpSelector]
