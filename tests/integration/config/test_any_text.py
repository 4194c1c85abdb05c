"""Any text as an override, any text as a value: 150 examples."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pbkd.config.load import load_config, to_yaml
from pbkd.config.schema import RunConfig
from pbkd.errors import ConfigError

PARTS = ["0", "123", "1e3", "on", "null", "~", ".5", "_", "0x", "2024-01-01", "${", "}", "???"]
PARTS += ["[", "]", "{", ",", ": ", " #", "'", '"', "\\", "%", "*", "&", "!", "|", "> ", "- ", "="]
PARTS += [
    " ",
    "\t",
    "\n",
    "\x00",
    "\x85",
    "\u2028",
    "\ufeff",
    "\udcff",
    "\U0001f600",
    "\u2060",
    "$",
    "é",
]
# A name is never empty.
TEXTS = st.text(min_size=1) | st.lists(st.sampled_from(PARTS), min_size=1).map("".join)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=50)
@given(name=TEXTS, options=st.dictionaries(TEXTS.filter(lambda t: t != "name"), VALUES), out=TEXTS)
@pytest.mark.slow
def test_any_choice_survives_saving(
    tmp_path_factory: pytest.TempPathFactory, name: str, options: dict[str, Any], out: str
) -> None:
    config = RunConfig(teacher={"name": name, **options}, out=out)
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(to_yaml(config).encode())
    assert load_config(file=file) == config


KEYS = st.sampled_from(
    [
        "seed",
        "out",
        "teacher",
        "teacher.weights",
        "distill",
        "distill.lr",
        "meters",
        "keep",
        "device",
    ]
)

SNIPPETS = st.lists(
    st.sampled_from([*"[]{}:,&*!|>-'\"\\${}#%@=.?~0123456789e\n\t ", "name", "null", "???", "inf"]),
    max_size=8,
).map("".join)

OVERRIDES = st.lists(
    st.one_of(st.text(), st.builds("{}={}".format, KEYS, st.one_of(st.text(), SNIPPETS))),
    max_size=3,
)


@settings(max_examples=100)
@given(OVERRIDES)
@example(["meters={name: x}"])
@example(["out=\\${x"])
@example(["teacher.x=!!set {a}"])
@example(["teacher=${data}"])
@example(["[=1"])
def test_any_text_is_a_configuration_or_a_mistake(overrides: list[str]) -> None:
    try:
        config = load_config(overrides)
    except ConfigError as error:
        assert str(error)
    else:
        assert isinstance(config, RunConfig)
        assert to_yaml(config)
