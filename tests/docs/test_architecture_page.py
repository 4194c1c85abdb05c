"""docs/architecture.md names files and functions that exist."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.paths import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PATHS = sorted(set(re.findall(r"`((?:pbkd|plugins|zoo|tests)/[\w/.-]*)`", PAGE)))
FILES = [ROOT / path for path in PATHS if path.endswith(".py")]
NAMES = sorted(
    (module, name)
    for module, name in set(re.findall(r"`(?:\w+\.)?(\w+)\.(\w+)`", PAGE))
    if name not in ("csv", "json", "md", "svg", "toml", "yaml")
)
"""`module.function` or `Class.method`, of the files that the page names."""


def definitions(tree: ast.Module | ast.ClassDef) -> set[str]:
    return {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


@cache
def defined() -> set[tuple[str, str]]:
    """The (module, name) of every definition and (class, name) of every method in the files."""
    pairs = set()
    for path in FILES:
        tree = ast.parse(path.read_text("utf-8"))
        module = path.parent.name if path.stem == "__init__" else path.stem
        pairs |= {(module, name) for name in definitions(tree)}
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                pairs |= {(node.name, name) for name in definitions(node)}
    return pairs


def test_the_page_names_files_and_functions() -> None:
    assert len(FILES) > 20
    assert len(NAMES) > 20


@pytest.mark.parametrize("path", PATHS)
def test_every_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_every_name_is_defined_in_a_file_that_the_page_names(module: str, name: str) -> None:
    if (module, name) == ("distill", "loss"):  # a key of the configuration
        return
    assert (module, name) in defined()
