from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NewType

import pytest
from omegaconf import MISSING

from pbkd.config.options import option_types, typed_options, unchecked_options
from pbkd.errors import ConfigError, PluginError, UnknownNameError, first_line

if TYPE_CHECKING:
    from fractions import Fraction

    from pbkd.plugin.registry import Registry


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Strategy:
    name: ClassVar[str] = "strategy"
    count: int = 3
    share: float = 1  # an int on purpose: authors write it
    on: bool = False
    label: str | None = None
    path: Path = Path("somewhere")
    colour: Colour = Colour.RED
    names: list[str] = field(default_factory=lambda: ["a"])
    mean: tuple[float, ...] = (0.5,)
    anything: Any = None


@dataclass(frozen=True)
class Demanding:
    name: ClassVar[str] = "demanding"
    path: str
    rank: int = 1


def test_without_any_given_the_options_are_the_defaults() -> None:
    assert Strategy(**typed_options(Strategy, {}, where="slot")) == Strategy()


def test_options_get_the_types_that_the_fields_have() -> None:
    given = {
        "count": "7",
        "share": 2,
        "on": "true",
        "label": "x",
        "path": "there",
        "colour": "BLUE",
        "names": ("b", "c"),
        "mean": [1, 0.25],
        "anything": {"deep": [1, None]},
    }
    found = typed_options(Strategy, given, where="slot")
    assert found == {
        "count": 7,
        "share": 2.0,
        "on": True,
        "label": "x",
        "path": Path("there"),
        "colour": Colour.BLUE,
        "names": ["b", "c"],
        "mean": (1.0, 0.25),
        "anything": {"deep": [1, None]},
    }
    kinds = {name: type(value) for name, value in found.items()}
    assert kinds["share"] is float
    assert kinds["mean"] is tuple
    assert kinds["names"] is list


def test_a_default_list_belongs_to_one_object_only() -> None:
    typed_options(Strategy, {}, where="slot")["names"].append("changed")
    assert typed_options(Strategy, {}, where="slot")["names"] == ["a"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": "many"}, r"'slot\.count': .*'many'"),
        ({"count": 1.5}, r"'slot\.count': .*'1\.5'"),
        ({"count": None}, r"'slot\.count': "),
        ({"share": [1]}, r"'slot\.share': "),
        ({"on": "perhaps"}, r"'slot\.on': .*'perhaps'"),
        ({"colour": "GREEN"}, r"'slot\.colour': .*RED, BLUE"),
        ({"names": "a"}, r"'slot\.names': "),
        ({"names": {"a": 1}}, r"'slot\.names'"),
        ({"mean": 3}, r"'slot\.mean': "),
        ({"mean": ["x"]}, r"'slot\.mean': .* is not of type tuple\[float, \.\.\.\]\."),
        ({"cuont": 3}, r"unknown option 'slot\.cuont'\. Did you mean 'count'\? Known: anything, "),
        ({"name": "x"}, r"unknown option 'slot\.name'"),
        ({5: 1}, r"unknown option 'slot\.5'"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(given: dict[Any, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        typed_options(Strategy, given, where="slot")
    assert "\n" not in str(caught.value)


def test_an_option_without_default_must_be_given() -> None:
    assert option_types(Demanding) == {"path": (str, MISSING), "rank": (int, 1)}
    with pytest.raises(ConfigError, match=r"^'data\.path' is required\.$"):
        typed_options(Demanding, {"rank": 2}, where="data")
    assert typed_options(Demanding, {"path": "x"}, where="data") == {"path": "x", "rank": 1}


@dataclass(frozen=True)
class Calls:
    back: Callable[[int], int] = abs


@dataclass(frozen=True)
class Abstract:
    sizes: Sequence[int] = (1,)


@dataclass(frozen=True)
class Contradictory:
    count: int = "three"  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("target", "option"), [(Calls, "back"), (Abstract, "sizes"), (Contradictory, "count")]
)
def test_an_option_that_no_configuration_can_hold_is_the_plugins_fault(
    target: type, option: str
) -> None:
    with pytest.raises(PluginError, match=rf"the option 'builder\.{option}' has a type or default"):
        typed_options(target, {}, where="builder")


Seconds = NewType("Seconds", float)


@dataclass(frozen=True)
class ForTypeCheckers:
    part: Fraction | None = None
    count: int = 1


class Plain:
    name = "plain"

    def __init__(self, count: int = 1, part: Fraction | None = None) -> None: ...


@dataclass(frozen=True)
class Inherits(ForTypeCheckers):
    seconds: Seconds = Seconds(1.0)
    more: Fraction | None = None
    pairs: tuple[int, int] = (1, 1)


@dataclass
class OnlyForInit:
    count: InitVar[int] = 1
    part: Fraction | None = None
    made: list[int] = field(default_factory=list, init=False)


def for_type_checkers(part: Fraction | None = None, *, count: int = 1) -> Fraction:
    raise NotImplementedError


class WithCall:
    def __call__(self, part: Fraction | None = None, count: int = 1) -> None: ...

    def build(self, part: Fraction | None = None, count: int = 1) -> None: ...


@pytest.mark.parametrize(
    "target",
    [
        ForTypeCheckers,
        Plain,
        Inherits,
        OnlyForInit,
        for_type_checkers,
        partial(for_type_checkers, count=2),
        partial(partial(for_type_checkers), count=2),
        WithCall(),
        WithCall().build,
        cache(for_type_checkers),
    ],
)
def test_an_annotation_for_type_checkers_leaves_its_own_option_untyped_alone(target: Any) -> None:
    reason = "its annotation Fraction | None cannot be resolved (name 'Fraction' is not defined)"
    assert unchecked_options(target)["part"] == reason
    assert "count" not in unchecked_options(target)
    found = typed_options(target, {"part": "1/2", "count": "2"}, where="slot")
    assert (found["part"], found["count"]) == ("1/2", 2)
    with pytest.raises(ConfigError, match=r"^'slot\.count': Value 'many' of type 'str' could not"):
        typed_options(target, {"count": "many"}, where="slot")


def test_types_come_from_the_class_that_declares_the_option() -> None:
    types = option_types(Inherits)
    assert [types[name][0] for name in ("count", "seconds", "part", "more")] == [
        int, float, Any, Any,
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"'slot\.pairs': \[1, 'a'\] is not of type tuple\[int, "):
        typed_options(Inherits, {"pairs": [1, "a"]}, where="slot")


def fail() -> list[int]:
    raise RuntimeError("no default")


@dataclass
class BadDefault:
    sizes: list[int] = field(default_factory=fail)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (BadDefault, "the default of the option 'sizes' fails: RuntimeError: no default"),
        (type, r"the options of <class 'type'> cannot be listed: no signature found"),
    ],
)
def test_options_that_cannot_be_listed_are_the_plugins_fault(target: type, reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        typed_options(target, {}, where="slot")


def build(*, width: int = 16, depth: float = 1.0, **_more: Any) -> None:
    """Stand for a model's build function."""


def test_the_options_of_a_function_are_its_named_parameters() -> None:
    assert option_types(build) == {"width": (int, 16), "depth": (float, 1.0)}
    found = typed_options(build, {"width": "8"}, where="teacher")
    assert found == {"width": 8, "depth": 1.0}
    with pytest.raises(ConfigError, match=r"unknown option 'teacher\.more'.*Known: depth, width"):
        typed_options(build, {"more": 1}, where="teacher")


def test_a_choice_becomes_the_strategy_with_its_options(registry: Registry) -> None:
    builder = registry.create("builder", {"name": "separable", "rank": "2"})
    assert (builder.name, builder.rank, builder.form) == ("separable", 2, "decoupled")
    with pytest.raises(UnknownNameError, match="Did you mean 'separable'"):
        registry.create("builder", {"name": "seperable"})
    with pytest.raises(ConfigError, match=r"unknown option 'builder\.rnak'.*Did you mean 'rank'"):
        registry.create("builder", {"name": "separable", "rnak": 2})


def test_a_strategy_that_refuses_its_options_is_told_as_one_sentence(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(frozen=True)
    class Picky:
        name: ClassVar[str] = "picky"
        rank: int = 1

        def __post_init__(self) -> None:
            if self.rank < 1:
                raise ValueError("the rank must be positive\nand so on")

    monkeypatch.setitem(registry.strategies["builder"], "picky", Picky)
    with pytest.raises(
        ConfigError, match=r"^the builder 'picky' rejects its options: the rank .* positive\.$"
    ):
        registry.create("builder", {"name": "picky", "rank": 0})


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one.\n  full_key: x"), "one."),
        (ValueError("one"), "one."),
        (ValueError("\n one\n"), "one."),
        (KeyError(), "KeyError."),
    ],
)
def test_the_first_line_of_an_error_is_a_sentence(error: Exception, line: str) -> None:
    assert first_line(error) == line
