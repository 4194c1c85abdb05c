"""docs/config.md lists every key and every option."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any

import pytest

from pbkd.config.options import option_types
from pbkd.config.schema import DistillConfig, FineTuneConfig, RunConfig, TargetConfig
from pbkd.plugin.slots import PROTOCOLS
from tests.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pbkd.plugin.registry import Registry

from tests.docs.documents import section_of, shown, table_rows

CONFIG = (ROOT / "docs" / "config.md").read_text()

TYPES = {
    "bool": "true or false",
    "dict[str, Any]": "choice",
    "float": "number",
    "float | None": "number or null",
    "int": "integer",
    "int | None": "integer or null",
    "int | str": "integer or text",
    "list[Any]": "list",
    "list[float] | None": "list or null",
    "list[Any] | None": "list or null",
    "list[str]": "list",
    "str": "text",
}

PREFIXES = {"meter": "", "lr-schedule": "schedule."}
"""What is before an option in the table of strategies, where it is not the slot."""

TABLES = [
    ("The run", RunConfig, ""),
    ("`distill`: blockwise training", DistillConfig, "distill."),
    ("`finetune`: fine-tuning the student", FineTuneConfig, "finetune."),
    ("`target`: what the student may cost, and lose", TargetConfig, "target."),
]


def field_docstrings(schema: type) -> list[str]:
    """The text below each field of a dataclass, in one line."""
    (definition,) = ast.parse(inspect.getsource(schema)).body
    assert isinstance(definition, ast.ClassDef)
    return [
        " ".join(below.value.value.split())
        for above, below in itertools.pairwise(definition.body)
        if isinstance(above, ast.AnnAssign)
        if isinstance(below, ast.Expr)
        if isinstance(below.value, ast.Constant)
        if isinstance(below.value.value, str)
    ]


def keys(schema: type, prefix: str = "") -> Iterator[list[str]]:
    """Yield (key, type, default) of a configuration's dataclass."""
    for field in fields(schema):
        if field.type in ("DistillConfig", "FineTuneConfig", "TargetConfig"):
            yield [prefix + field.name, "section", "see below"]
        else:
            yield [prefix + field.name, TYPES[str(field.type)], shown(default(field))]


def default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


@pytest.mark.parametrize(("heading", "schema", "prefix"), TABLES)
def test_the_configurations_tables_are_the_code(heading: str, schema: type, prefix: str) -> None:
    section = section_of(CONFIG, heading)
    assert [row[:3] for row in table_rows(section)] == list(keys(schema, prefix))
    assert all(len(row) == 4 and row[3].endswith(".") for row in table_rows(section))


@pytest.mark.parametrize(("heading", "schema", "prefix"), TABLES)
def test_the_meanings_begin_with_the_docstrings_of_the_fields(
    heading: str, schema: type, prefix: str
) -> None:
    rows = table_rows(section_of(CONFIG, heading))
    meanings = {row[0]: re.sub(r" \(\[.*?\]\(.*?\)\)", "", row[3]) for row in rows}
    texts = field_docstrings(schema)
    for field, text in zip(fields(schema), texts, strict=True):
        assert meanings[prefix + field.name].startswith(text.lstrip("`").rstrip("."))


def test_every_data_source_is_listed_with_its_options(registry: Registry) -> None:
    sources = registry.strategies["data"]
    section = section_of(CONFIG, "`data`")
    found = dict(re.findall(r"^`([\w-]+)`: (.*?)(?=\n`|\Z)", section, re.MULTILINE | re.DOTALL))
    assert set(found) == set(sources)
    for name, source in sources.items():
        wanted = [
            [f"data.{f.name}", "required" if f.default is MISSING else shown(f.default)]
            for f in fields(source)
        ]
        assert table_rows(found[name]) == wanted, name


def test_every_option_of_a_built_in_strategy_is_listed(registry: Registry) -> None:
    section = CONFIG.split("\n## Built-in strategies\n")[1]
    wanted = {
        (f"{PREFIXES.get(slot, f'{slot}.')}{option}", shown(preset), name)
        for slot, strategies in registry.strategies.items()
        for name, strategy in strategies.items()
        if slot in PROTOCOLS and slot not in ("data", "exporter", "section")
        for option, (_, preset) in option_types(strategy).items()
    }
    listed = {(key, preset, what.split("`")[0]) for key, preset, what in table_rows(section)}
    assert listed == wanted
