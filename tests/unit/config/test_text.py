"""Text is taken as it is typed: names that YAML or omegaconf would read as something else."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pbkd.config.load import load_config, to_yaml
from pbkd.config.options import typed_options
from pbkd.config.yaml_values import lossless, read_argument, scalar

NAMES = [
    *("0123", "2024", "-0", "1e3", "1e-05", "1.0e-05", ".5", "5.", "1_000", "0x10", "0b1", "1:30"),
    *("on", "Off", "yes", "n", "true", "True", "~", "Null", ".inf", ".nan", "2024-01-01", "---"),
    *(
        "ab cd - Ünï.npz",
        " x",
        "x ",
        "x\ty",
        "a\nb",
        "日本.pt",
        "e\u0301.npz",
        "\udcff.npz",
        "\u2060$",
    ),
    *(
        "a,b=[c].npz",
        "[c]",
        "[a, b]",
        "{a}",
        "{a: 1}",
        "[",
        "}",
        "x:y.npz",
        "x: y",
        "a=b=c",
        "=",
        "<<",
    ),
    *(
        "$HOME.npz",
        "${oc}.npz",
        "${oc.env:HOME}",
        "$${x}",
        "\\${x",
        "???",
        "#1.npz",
        "a #b",
        "%TEMP%",
    ),
    *(
        "'q'.npz",
        "'q'",
        '"q"',
        "it's",
        "`x`",
        "&a",
        "*a",
        "!x",
        "!!int 3",
        "| x",
        ">",
        "- a",
        "? a",
    ),
    *(
        "C:\\Users\\me\\w.pt",
        "C:/Users/me/w.pt",
        "\\\\server\\w.pt",
        "~/x",
        "~user",
        "./null",
        "@x",
    ),
]


class Kind(Enum):
    ON = 1


@dataclass(frozen=True)
class Options:
    """Options of a strategy, some of them text."""

    name: ClassVar[str] = "x"
    path: str = "a"
    maybe: str | None = None
    file: Path = Path("a")
    maybe_file: Path | None = None
    texts: list[str] = field(default_factory=list)
    maybe_texts: list[str | None] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    pair: tuple[str, float] = ("a", 1.0)
    named: dict[str, str] = field(default_factory=dict)
    count: int = 0
    rate: float | None = 0.0
    sizes: tuple[float, ...] = ()
    flag: bool = False
    kind: Kind = Kind.ON
    either: int | str = 1
    anything: Any = None


def read(*options: str, file: Path | None = None) -> dict[str, Any]:
    """Read options of a builder, from the command line or a file, as a strategy gets them."""
    choice = load_config([f"builder.{option}" for option in options], file=file).builder
    options_only = {key: value for key, value in choice.items() if key != "name"}
    return typed_options(Options, options_only, where="builder")


KEYS = [f"n{index}" for index in range(len(NAMES))]


def all_names(option: str, choice: dict[str, Any]) -> list[Any]:
    """Return the names in a choice, as a strategy gets them in a list of the option's type."""
    found: list[Any] = typed_options(Options, {option: [choice[key] for key in KEYS]}, where="x")[
        option
    ]
    return found


def typed_overrides(names: list[str]) -> list[str]:
    return [f"builder.{key}={name}" for key, name in zip(KEYS, names, strict=True)]


def test_options_that_are_text_get_what_was_typed() -> None:
    builder = load_config(typed_overrides(NAMES)).builder
    assert all_names("texts", builder) == NAMES
    assert all_names("maybe_texts", builder) == NAMES
    assert all_names("files", builder) == [Path(name) for name in NAMES]
    assert read("path=null")["path"] == "null"
    assert read("path=")["path"] == ""


@pytest.mark.parametrize("name", ["0123", "1e3", "on", "null", "[c]", "${oc}", "a=b", "x "])
def test_keys_and_names_of_strategies_are_text(name: str) -> None:
    config = load_config([f"out={name}", f"teacher={name}", f"distill.loss={name}"])
    assert (config.out, config.distill.loss, config.teacher) == (name, *[{"name": name}] * 2)


def test_null_or_nothing_unsets_what_may_be_none() -> None:
    for text in ("null", ""):
        given = read(f"maybe={text}", f"maybe_file={text}", f"rate={text}", f"anything={text}")
        assert [given[key] for key in ("maybe", "maybe_file", "rate", "anything")] == [None] * 4
    assert read("rate=~")["rate"] is None


def test_text_survives_the_configuration_of_a_run(tmp_path: Path) -> None:
    config = load_config([*typed_overrides(NAMES), "out=${oc} ???"])
    config.plugins = config.keep = NAMES
    file = tmp_path / "config.yaml"
    file.write_bytes(to_yaml(config).encode())
    again = load_config(file=file)
    assert again == config
    assert all_names("maybe_texts", again.builder) == NAMES


def test_text_in_a_file_needs_no_quotes(tmp_path: Path) -> None:
    names = ["0123", "1e3", "on", "~", "2024", "1_000", "2024-01-01", "a b", ".5", "0x10"]
    lines = "".join(f"- {name}\n" for name in names)
    file = tmp_path / "my.yaml"
    file.write_text(
        f"out: 0123\nkeep: [{', '.join(names)}]\nplugins:\n{lines}builder: {{path: on}}"
    )
    config = load_config(["builder.maybe=off"], file=file)
    assert (config.out, config.keep, config.plugins) == ("0123", names, names)
    assert read(file=file)["path"] == "on"


def test_paths_from_python_are_text() -> None:
    config = load_config(
        options={
            "out": Path("a/b"),
            "data": {"name": "npz", "path": Path("1e3")},
            "plugins": [Path("x.py")],
        }
    )
    assert config.out == "a/b"
    assert config.data == {"name": "npz", "path": "1e3"}
    assert config.plugins == ["x.py"]
    assert (
        typed_options(Options, {"path": Path("on"), "maybe": Path("x")}, where="")["path"] == "on"
    )


def test_other_types_are_read_as_before() -> None:
    given = read(
        "texts=[0123, 'a, b', on, null]",
        "pair=[1e3,2]",
        "named={a: 0123,b: on}",
        "count=1_000",
        "rate=1e-3",
        "sizes=[1, 2e-1,.5]",
        "flag=on",
        "kind=ON",
        "either=auto",
        "anything={deep: [1e-3, {a: 0x10}], text: 'on', list: []}",
    )
    assert given == {
        **read(),
        "texts": ["0123", "a, b", "on", "null"],
        "pair": ("1e3", 2.0),
        "named": {"a": "0123", "b": "on"},
        "count": 1000,
        "rate": 0.001,
        "sizes": (1.0, 0.2, 0.5),
        "flag": True,
        "kind": Kind.ON,
        "either": "auto",
        "anything": {"deep": [0.001, {"a": 16}], "text": True, "list": []},
    }
    assert read("count=007")["count"] == 7


def untyped(rate: Any = 1e-3, flag: Any = False, label: Any = "on", layers: Any = None) -> None:
    """Stand for a user's function without annotations."""


def test_the_default_tells_the_type_of_an_option_without_annotation() -> None:
    given = {"rate": "1e-2", "flag": "on", "label": 12, "layers": "[1, 0x10]"}
    assert typed_options(untyped, given, where="teacher") == {
        "rate": 0.01,
        "flag": True,
        "label": "12",
        "layers": [1, 16],
    }
    assert typed_options(untyped, {"layers": "'1e3'"}, where="teacher")["layers"] == "1e3"


def test_what_is_not_read_as_text_could_be_written_back() -> None:
    assert [read_argument(text) for text in ("3", "0.5", "true", "null")] == [3, 0.5, True, None]
    assert lossless("{a: 0123, b: 3, c: 1.50, d: '4'}") == {
        "a": "0123",
        "b": 3,
        "c": "1.50",
        "d": "4",
    }
    assert [scalar(text) for text in ("0x10", "no", "# a", "- a", "a: b", "x  y ")] == [
        *(16, False, "# a", "- a", "a: b", "x  y "),
    ]
