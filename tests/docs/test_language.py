"""Documents and public docstrings are written in plain technical English."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

BANNED = re.compile(
    r"\b(?:whatever|whoever|whichever|whomever|so many|so much of|that of|those of|told"
    r"|who (?:does|did|trains|do) what|each over the one before|gone through|kept least"
    r"|would rule|has to stand|hears nothing)\b",
    re.IGNORECASE,
)
"""Words and phrases that the last section of the style guide replaces."""

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "docs").glob("*.ipynb")),
    *sorted((ROOT / "plugins").glob("*/README.md")),
]
MODULES = [
    path
    for folder in ("pbkd", "plugins", "zoo")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not path.name.startswith("test_")
]


def public_docstrings(node: ast.AST) -> Iterator[str]:
    """Yield the docstrings of a module and of the public classes and functions in it."""
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
        yield ast.get_docstring(node) or ""
    if isinstance(node, (ast.Module, ast.ClassDef)):
        for child in node.body:
            if isinstance(child, (ast.ClassDef, ast.FunctionDef)) and child.name[0] != "_":
                yield from public_docstrings(child)


def text_of(path: Path) -> str:
    text = path.read_text("utf-8")
    return "\n".join(public_docstrings(ast.parse(text))) if path.suffix == ".py" else text


@pytest.mark.parametrize("files", [DOCUMENTS, MODULES], ids=["documents", "docstrings"])
def test_no_banned_word_is_used(files: list[Path]) -> None:
    found = {
        str(path.relative_to(ROOT)): sorted(set(BANNED.findall(" ".join(text_of(path).split()))))
        for path in files
    }
    assert {name: words for name, words in found.items() if words} == {}
