from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from pbkd.errors import ConfigError, PluginError
from pbkd.planning.option_selection import cheapest_options, select_options, with_neighbours
from pbkd.protocols import BlockOption

WHO = f"the selector 'mine' of the plugin '{__name__}'"
OPTIONS = {
    "a": [BlockOption(None, 0.0, {"macs": 10}), BlockOption("a", 0.5, {"macs": 1})],
    "b": [
        BlockOption(None, 0.0, {"macs": 10}),
        BlockOption("b", 0.4, {"macs": 2}),
        BlockOption("b.1", 0.1, {"macs": 5}),
    ],
}


@dataclass(frozen=True)
class Mine:
    name: ClassVar[str] = "mine"
    answer: Callable[[Any, Any], Any]

    def select(self, options: Any, limits: Any) -> Any:
        return self.answer(options, limits)


def selected(answer: Callable[[Any, Any], Any], limit: float = 12) -> Any:
    return select_options(Mine(answer), OPTIONS, {"macs": limit})


def second(options: Any, _: Any) -> Any:
    return {block: choices[1] for block, choices in reversed(options.items())}


def test_a_right_answer_is_returned_in_the_order_of_the_blocks() -> None:
    assert list(selected(second).items()) == [("a", OPTIONS["a"][1]), ("b", OPTIONS["b"][1])]
    assert selected(second, 3 - 1e-9) is not None  # solvers round
    assert selected(lambda *_: None, 2.9) is None
    assert select_options(Mine(second), {}, {"macs": 1.0}) == {}


def test_the_cheapest_of_each_block() -> None:
    assert [o.name for o in cheapest_options(OPTIONS, {"macs": 0.0}).values()] == ["a", "b"]


SIZES = [
    BlockOption(None, 0.0, {"macs": 100}),
    *(
        BlockOption(name, harm, {"macs": cost})
        for name, harm, cost in [
            ("half", 0.01, 50), ("third", 0.02, 33), ("almost", 0.03, 30), ("quarter", 0.05, 25),
            ("worse", 0.09, 26), ("tenth", 0.1, 10), ("dear", 0.001, 120),
        ]
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("picked", "kept"),
    [
        ("third", {"half", "third", "quarter"}),
        ("quarter", {"third", "quarter", "tenth"}),
        ("tenth", {"third", "quarter", "tenth"}),
        (None, {"half", "third"}),
    ],
)
def test_the_next_sizes_are_worth_training_too(picked: str | None, kept: set[str]) -> None:
    assert with_neighbours(picked, SIZES, {"macs": 0.0}) == kept


def test_a_segment_that_no_candidate_outdoes_has_none() -> None:
    dear = [SIZES[0], SIZES[-1]]
    assert with_neighbours(None, dear, {"macs": 0.0}) == set()


def cheaper(options: Any, _: Any) -> Any:
    for choices in options.values():
        choices[0].costs["macs"] = 0
    return {block: choices[0] for block, choices in options.items()}


def raises(*_: Any) -> Any:
    raise KeyError("macs")


def exits(*_: Any) -> Any:
    raise SystemExit


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda *_: None, "returns None, but the cheapest options of all blocks meet the limits"),
        (lambda *_: [1, 2], "returns list, not a mapping from blocks to options"),
        (lambda o, _: {"a": o["a"][1]}, "selects nothing for the block 'b'"),
        (lambda o, _: {**second(o, _), "c": o["a"][0]}, "selects for 'c', which is no block"),
        (lambda *_: {"a": "a", "b": "b"}, "selects for the block 'a' what is none of its options"),
        (lambda o, _: {**second(o, _), "a": o["b"][1]}, "for the block 'a' what is none of its"),
        (lambda o, _: {**second(o, _), "b": o["b"][1:]}, "for the block 'b' what is none of its"),
        (lambda o, _: {b: c[0] for b, c in o.items()}, "limit of macs: its options need 20 of 12"),
        (cheaper, "selects for the block 'a' what is none of its options"),
        (lambda o, limits: limits.update(macs=99) or {b: c[0] for b, c in o.items()}, "20 of 12"),
        (raises, r"failed in select \(KeyError: 'macs'\)"),
        (exits, r"failed in select \(SystemExit\)"),
    ],
)
def test_a_wrong_answer_is_told_with_the_plugin_and_the_cure(answer: Any, told: str) -> None:
    with pytest.raises(PluginError, match=told) as error:
        selected(answer)
    assert str(error.value).startswith(WHO)
    assert str(error.value).endswith("or omit target.selector.")


def test_an_error_of_pbkds_own_is_passed_on() -> None:
    def refuses(*_: Any) -> Any:
        raise ConfigError("set target.selector.seed.")

    with pytest.raises(ConfigError, match="set target"):
        selected(refuses)
