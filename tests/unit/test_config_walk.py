"""Few files of a run see the whole configuration.

The measure: every module that is loaded when `pbkd.pipeline.run` is imported, directly or through
other modules (imports inside functions included, those under `TYPE_CHECKING` not), and every
built-in plugin with what it imports. Of these, count the files in which the whole configuration, a
`RunConfig`, is

- received or returned by a function, or stored in a field (by annotation), or
- read as an attribute `.config`, or
- made by `RunConfig(...)` or `load_config(...)`.

The commit before the packages (bcbbc0c, from `pbkd/run.py` on) has 23 such files. Parts of the
configuration, such as `DistillConfig`, do not count: a function that takes one says what it needs.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from tests.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BEFORE = 23
START = "pbkd.pipeline.run"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.glob("pbkd/**/*.py")
}
PLUGINS = {path.stem: path for path in ROOT.glob("plugins/*/pbkd_*.py")}


def is_typing_only(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def imported(node: ast.AST) -> Iterator[str]:
    """Yield the names that are imported below a node when the program runs."""
    for child in ast.iter_child_nodes(node):
        if is_typing_only(child):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        yield from imported(child)


def reachable() -> set[Path]:
    """The files that a run may execute."""
    modules = MODULES | PLUGINS
    found: set[Path] = set()
    pending = [modules[START], *PLUGINS.values()]
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            names = imported(ast.parse(path.read_text("utf-8")))
            pending += [modules[name] for name in names if name in modules]
    return found


def mentions(annotation: ast.AST | None) -> bool:
    return annotation is not None and any(
        isinstance(node, ast.Name) and node.id == "RunConfig" for node in ast.walk(annotation)
    )


def sees_the_configuration(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        return mentions(node.returns) or any(mentions(arg.annotation) for arg in arguments)
    if isinstance(node, ast.AnnAssign):
        return mentions(node.annotation)
    if isinstance(node, ast.Attribute):
        return node.attr == "config" and isinstance(node.ctx, ast.Load)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in ("RunConfig", "load_config")
    return False


def test_at_most_half_as_many_files_as_before_see_the_whole_configuration() -> None:
    files = sorted(
        str(path.relative_to(ROOT))
        for path in reachable()
        if any(map(sees_the_configuration, ast.walk(ast.parse(path.read_text("utf-8")))))
    )
    assert "pbkd/pipeline/run.py" in files
    assert len(files) <= BEFORE // 2, files
