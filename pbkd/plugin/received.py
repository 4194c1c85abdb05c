"""The types of pbkd that plugins receive or return, found from the signatures of what they use."""

from __future__ import annotations

import ast
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from pbkd import hookspecs, protocols
from pbkd.plugin.interfaces import definition_markdown, home_modules, source_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType


__all__ = ["received_markdown", "received_types"]

Home = tuple[str, str]
"""A name of pbkd, after the module that defines it."""


def received_types(packages: Iterable[ModuleType]) -> list[Home]:
    """Find the types of pbkd in the signatures of hooks, protocols and exported names.

    Types in the fields and methods of such a type are found too.

    Args:
        packages: The modules of `pbkd.plugin.interfaces.PACKAGES`, imported.

    Returns:
        The types, by module and name.
    """
    shown = {(home, name) for name, home in home_modules(protocols).items()}
    hooks = {(hookspecs.__name__, name) for name in vars(hookspecs) if name[:9] == "register_"}
    exported = {
        (home, name) for package in packages for name, home in home_modules(package).items()
    }
    found: dict[Home, None] = {}
    queue = sorted(shown | hooks | exported)
    while queue:
        module, name = queue.pop(0)
        for one in _named_types(module, name):
            if one not in found and one not in shown and not _is_type_variable(*one):
                found[one] = None
                queue.append(one)
    return sorted(found.keys() - exported, key=lambda one: (one[0], _line(one)))


def received_markdown(packages: Iterable[ModuleType]) -> Iterator[str]:
    """Describe each of `received_types`, and from where it can be imported.

    Yields:
        Paragraphs of Markdown.
    """
    yield "## Types that plugins receive or return\n"
    yield (
        "The types of arguments, results and fields that are not described above. Those that\n"
        "`pbkd` exports may be imported.\n"
    )
    exported = import_module("pbkd").__all__
    for module, name in received_types(packages):
        yield f"### {name}\n"
        if name in exported:
            yield "Exported by `pbkd`.\n"
        yield from definition_markdown(module, name)


def _named_types(module: str, name: str) -> Iterator[Home]:
    """Yield the types of pbkd that a definition's annotations name."""
    body = source_tree(module).body
    imported = _imported(module)
    own = {getattr(node, "name", None) or _target(node) for node in body}
    for node in body:
        if name not in (getattr(node, "name", None), _target(node)):
            continue
        for annotation in _annotations(node):
            for part in ast.walk(annotation):
                if isinstance(part, ast.Name) and part.id in imported:
                    yield imported[part.id]
                elif isinstance(part, ast.Name) and part.id in own and part.id != name:
                    yield module, part.id


def _annotations(node: ast.stmt) -> Iterator[ast.expr]:
    """Yield the annotations of arguments, results and public fields; an alias's whole value."""
    if isinstance(node, ast.FunctionDef):
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        yield from (each.annotation for each in arguments if each.annotation)
        if node.returns:
            yield node.returns
    elif isinstance(node, ast.ClassDef):
        for part in node.body:
            if (getattr(part, "name", None) or _target(part) or "_")[0] != "_":
                yield from _annotations(part)
    elif isinstance(node, ast.AnnAssign):
        alias = ast.unparse(node.annotation) == "TypeAlias"
        yield node.value if alias and node.value else node.annotation
    elif isinstance(node, ast.Assign):
        yield node.value


def _target(node: ast.stmt) -> str | None:
    """Return the name that a statement assigns to."""
    if isinstance(node, ast.AnnAssign):
        return ast.unparse(node.target)
    return ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else None


@cache
def _imported(module: str) -> dict[str, Home]:
    """Return the names that a module imports from pbkd, with the modules that define them."""
    found = {}
    for node in ast.walk(source_tree(module)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "pbkd":
            for alias in node.names:
                found[alias.asname or alias.name] = _home(str(node.module), alias.name)
    return found


def _home(module: str, name: str) -> Home:
    """Follow a name through the packages that export it to the module that defines it."""
    source = home_modules(import_module(module)).get(name)
    return _home(source, name) if source else (module, name)


def _is_type_variable(module: str, name: str) -> bool:
    return isinstance(getattr(import_module(module), name, None), TypeVar)


def _line(one: Home) -> int:
    module, name = one
    lines = [
        n.lineno for n in source_tree(module).body if name in (getattr(n, "name", None), _target(n))
    ]
    return lines[0] if lines else 0
