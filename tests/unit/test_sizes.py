"""Limits on the size of files and functions, which keep the code readable."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDERS = ("pbkd", "plugins", "zoo", "tests", "docs")
MAX_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 300, 50, 6
PUBLIC = {"compress"}
"""Functions with as many parameters as a user needs; so have the functions of the command line."""

FILES = sorted(
    [*(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")), *ROOT.glob("*.py")]
)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def parameter_names(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    parts = function.args
    names = [each.arg for each in (*parts.posonlyargs, *parts.args, *parts.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES
    for function in functions(path):
        assert (function.end_lineno or 0) - function.lineno < MAX_FUNCTION_LINES, function.name
        if function.name not in PUBLIC and "cli" not in path.parts:
            assert len(parameter_names(function)) <= MAX_PARAMETERS, function.name
