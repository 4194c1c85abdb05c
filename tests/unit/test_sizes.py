"""Limits on the size of files and functions, which keep the code readable."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

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


def faults(path: Path) -> Iterator[str]:
    name = path.relative_to(ROOT)
    if len(path.read_text("utf-8").splitlines()) > MAX_LINES:
        yield f"{name} has over {MAX_LINES} lines"
    for function in functions(path):
        if (function.end_lineno or 0) - function.lineno >= MAX_FUNCTION_LINES:
            yield f"{function.name} in {name} has over {MAX_FUNCTION_LINES} lines"
        is_limited = function.name not in PUBLIC and "cli" not in path.parts
        if is_limited and len(parameter_names(function)) > MAX_PARAMETERS:
            yield f"{function.name} in {name} has over {MAX_PARAMETERS} parameters"


def test_files_and_functions_are_short() -> None:
    assert [fault for path in FILES for fault in faults(path)] == []
