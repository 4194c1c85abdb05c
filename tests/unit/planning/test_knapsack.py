from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from pbkd.planning.knapsack import Option, cheapest_options, solve_knapsack

OPTIONS = {
    "a": [Option(None, 0.0, {"macs": 10}), Option("a", 0.5, {"macs": 1})],
    "b": [
        Option(None, 0.0, {"macs": 10}),
        Option("b", 0.4, {"macs": 2}),
        Option("b.1", 0.1, {"macs": 5}),
    ],
}


def picked(limit: float) -> list[str | None] | None:
    found = solve_knapsack(OPTIONS, {"macs": limit})
    return None if found is None else [option.name for option in found.values()]


def test_the_least_harm_that_fits() -> None:
    assert picked(20) == [None, None]
    assert picked(15) == [None, "b.1"]  # 0.1 of harm; a alone replaced would be 0.5
    assert picked(12) == [None, "b"]
    assert picked(11) == ["a", None]
    assert picked(6) == ["a", "b.1"]
    assert picked(3) == ["a", "b"]
    assert picked(2.9) is None


def test_without_limits_nothing_is_replaced_and_without_blocks_nothing_is_chosen() -> None:
    assert solve_knapsack(OPTIONS, {}) == {"a": OPTIONS["a"][0], "b": OPTIONS["b"][0]}
    assert solve_knapsack({}, {"macs": 1.0}) == {}


def test_the_cheapest_of_each_block() -> None:
    assert [o.name for o in cheapest_options(OPTIONS, {"macs": 0.0}).values()] == ["a", "b"]


figures = st.floats(0, 1e9)
some_options = st.lists(st.tuples(figures, figures, figures), min_size=1, max_size=4)


@settings(max_examples=150)
@given(st.lists(some_options, min_size=1, max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_no_other_choice_within_the_limits_does_less_harm(
    table: list[list[tuple[float, float, float]]], macs: float, milliseconds: float
) -> None:
    options = {
        str(block): [
            Option(f"{block}.{index}", harm, {"macs": one, "latency_ms": two})
            for index, (harm, one, two) in enumerate(rows)
        ]
        for block, rows in enumerate(table)
    }
    limits = {"macs": macs * 2e9, "latency_ms": milliseconds * 2e9}

    def total(taken: tuple[Option, ...], key: str) -> float:
        return sum(option.costs[key] for option in taken)

    def fits(taken: tuple[Option, ...], slack: float) -> bool:
        return all(
            total(taken, key) <= limit * (1 + slack) + slack for key, limit in limits.items()
        )

    def harm(taken: tuple[Option, ...]) -> float:
        return sum(option.harm for option in taken)

    every = list(product(*options.values()))
    found = solve_knapsack(options, limits)
    # The solver takes a constraint as kept within 1e-6, and an optimum as found within 1e-4 of it.
    if found is None:
        assert not any(fits(taken, -1e-6) for taken in every)
        return
    assert list(found) == list(options)
    mine = tuple(found.values())
    assert fits(mine, 2e-6)
    least = min((harm(taken) for taken in every if fits(taken, -1e-6)), default=harm(mine))
    assert harm(mine) <= least * (1 + 2e-4) + 1e-6
