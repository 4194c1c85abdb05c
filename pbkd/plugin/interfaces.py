"""The modules that plugins may import, and the reference of their names."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType


__all__ = [
    "PACKAGES",
    "PUBLIC_MODULES",
    "definition_markdown",
    "docstring_markdown",
    "home_modules",
    "interfaces_markdown",
    "source_tree",
]

PUBLIC_MODULES = {
    "pbkd": "`hookimpl`, the data types of hooks and protocols, `compress` and `load`",
    "pbkd.errors": "the errors that a plugin raises or catches",
    "pbkd.protocols": "the protocols on this page, for annotations",
    "pbkd.testing": "the conformance tests, in a plugin's tests only",
}
"""Modules that every plugin may import, with their contents."""

PACKAGES = {
    "pbkd.data": "data sources",
    "pbkd.models": "partitioners and exporters",
    "pbkd.planning": "schedulers",
    "pbkd.energy": "meters",
    "pbkd.execution": "launchers",
    "pbkd.runs": "observers",
    "pbkd.training": "losses",
    "pbkd.report": "report sections",
}
"""Packages whose exported names are an interface, with the kind of plugin that it is for."""

_SECTIONS = {
    "Args": "Arguments",
    "Attributes": "Attributes",
    "Raises": "Raises",
    "Returns": "Returns",
    "Yields": "Yields",
}


def interfaces_markdown(packages: Iterable[ModuleType]) -> Iterator[str]:
    """Write which modules plugins may import, and the names that packages export for them.

    Args:
        packages: The modules of `PACKAGES`.

    Yields:
        Paragraphs of Markdown: signature and docstring of each name.
    """
    yield "## What a plugin may import\n"
    yield (
        "A plugin imports names of pbkd from these modules only; all others are internal, and\n"
        "change without notice.\n"
    )
    modules = {f"`{name}`": text for name, text in PUBLIC_MODULES.items()}
    modules |= {f"`{name}`": f"for {kind}, see below" for name, kind in PACKAGES.items()}
    yield "\n".join(f"- {name}: {text}." for name, text in modules.items()) + "\n"
    for package in packages:
        yield f"## {package.__name__}, for {PACKAGES[package.__name__]}\n"
        yield from _names(package)


def _names(package: ModuleType) -> Iterator[str]:
    homes = home_modules(package)
    for name in package.__all__:
        yield from definition_markdown(homes[name], name)


def home_modules(package: ModuleType) -> dict[str, str]:
    """Return the module of pbkd that each name comes from, by the imports of a package."""
    return {
        alias.name: node.module or ""
        for node in ast.walk(source_tree(package.__name__))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pbkd.")
        for alias in node.names
    }


def definition_markdown(module: str, name: str) -> Iterator[str]:
    """Describe a function, a class with its public methods, or a type alias.

    Args:
        module: The module that defines it.
        name: Its name.

    Yields:
        Signatures and docstrings, in Markdown.
    """
    body = source_tree(module).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            yield f"    {_signature(node)}\n"
            yield docstring_markdown(ast.get_docstring(node) or "")
        elif isinstance(node, ast.ClassDef) and node.name == name:
            yield from _class(node, body)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and _assigned(node) == name:
            yield f"    {ast.unparse(node)}\n"
            if isinstance(following, ast.Expr):
                yield f"{ast.literal_eval(following.value)}\n"


@cache
def source_tree(module: str) -> ast.Module:
    """Return the syntax tree of a module's source."""
    return ast.parse(inspect.getsource(import_module(module)))


def _assigned(node: ast.Assign | ast.AnnAssign) -> str:
    return ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])


def _class(node: ast.ClassDef, body: list[ast.stmt]) -> Iterator[str]:
    methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
    init = next((method for method in methods if method.name == "__init__"), None)
    fields = [ast.unparse(part) for part in _fields(node, body)]
    arguments = ", ".join(fields) if init is None else _arguments(init)
    yield f"    class {node.name}({arguments})\n"
    yield docstring_markdown(ast.get_docstring(node) or "")
    if init is not None:
        yield docstring_markdown(ast.get_docstring(init) or "")
    for method in methods:
        if not method.name.startswith("_"):
            yield f"    {node.name}.{_signature(method).removeprefix('def ')}\n"
            yield docstring_markdown(ast.get_docstring(method) or "")


def _fields(node: ast.ClassDef, body: list[ast.stmt]) -> Iterator[ast.AnnAssign]:
    """Yield the fields of a dataclass, after those of its private bases in the same module."""
    bases = {ast.unparse(base) for base in node.bases}
    for other in body:
        if isinstance(other, ast.ClassDef) and other.name[0] == "_" and other.name in bases:
            yield from _fields(other, body)
    yield from (part for part in node.body if isinstance(part, ast.AnnAssign))


def _arguments(function: ast.FunctionDef) -> str:
    return ast.unparse(function.args).removeprefix("self, ")


def _signature(function: ast.FunctionDef) -> str:
    assert function.returns is not None
    if any(ast.unparse(decorator) == "property" for decorator in function.decorator_list):
        return f"{function.name}: {ast.unparse(function.returns)}"
    signature = f"({ast.unparse(function.args).removeprefix('self').removeprefix(', ')})"
    return f"def {function.name}{signature} -> {ast.unparse(function.returns)}"


def docstring_markdown(docstring: str) -> str:
    """Write a Google-style docstring as Markdown, its sections as lists."""
    lines: list[str] = []
    section = None
    for line in docstring.splitlines():
        heading = re.fullmatch(r"(\w+):", line)
        if heading and heading[1] in _SECTIONS:
            section = heading[1]
            lines += [f"{_SECTIONS[section]}:", ""]
        elif section and line.startswith("    "):
            entry = re.match(r"    ([\w*]+): (.*)", line)
            if entry and section not in ("Returns", "Yields"):
                lines.append(f"- `{entry[1]}`: {entry[2]}")
            elif lines[-1]:
                lines.append(f"  {line.strip()}")
            else:
                lines.append(f"- {line.strip()}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"
