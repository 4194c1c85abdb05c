"""The layers of docs/architecture.md: what each package may import, and that nothing goes round.

Every import counts, those under `TYPE_CHECKING` and inside functions included.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from tests.paths import ROOT

PACKAGE = ROOT / "pbkd"

LAYERS = (
    "core", "config", "plugin", "data", "models", "training", "energy",
    "planning", "runs", "report", "execution", "pipeline", "zoo",
)  # fmt: skip
"""The numbered rows of the table, from the bottom."""

SHELLS = ("bench", "testing", "cli")
"""Packages that may import everything; nobody imports `cli`."""


def rows(*numbers: int) -> set[str]:
    return {LAYERS[number - 1] for number in numbers}


MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "config": rows(1),
    "plugin": rows(1, 2),
    "data": rows(1, 2, 3),
    "models": rows(1, 2, 3, 4),
    "training": rows(1, 2, 3, 4, 5),
    "energy": rows(1, 3),
    "planning": rows(1, 2, 3, 5, 6),
    "runs": rows(1, 2, 4, 5, 6, 8),
    "report": rows(1, 2, 3, 8, 9),
    "execution": rows(1, 2, 3, 4, 5, 6, 9),
    "pipeline": rows(*range(1, 12)),
    "zoo": rows(1, 2, 3, 4, 5, 6, 9, 10, 12),
    **{shell: {*LAYERS, *SHELLS} - {"cli"} for shell in SHELLS},
}
"""The layer table: the packages that a package's files may import beside their own."""

CONTRACT = {"protocols", "hookspecs"}
ROOT_FILES: dict[str, set[str]] = {
    "errors": set(),
    "_version": set(),
    "protocols": {"protocols", "errors", "core", "data"},
    "hookspecs": {"protocols", "core"},
    "__init__": {"_version", "api", "hookspecs", "protocols", "core", "config", "models"},
    "api": {"errors", *LAYERS},
    "__main__": {"cli"},
}
"""The public face, and what each file of it, or the package `protocols`, may import."""

UNDER_ALL = {"errors", "_version"}
WITHOUT_CONTRACT = {"core", "config"}


def modules() -> dict[str, Path]:
    """Return every module of pbkd by its dotted name, packages by their own."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported_by(path: Path) -> set[str]:
    """Return the modules of pbkd that a file imports, wherever the import stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            module = node.module or ""
            names |= {
                f"{module}.{alias.name}" if f"{module}.{alias.name}" in MODULES else module
                for alias in node.names
            }
    return names & set(MODULES)


@cache
def graph() -> dict[str, set[str]]:
    return {name: imported_by(path) for name, path in MODULES.items()}


def place(module: str) -> str:
    """Return the package of a module, or the name of a file that lies at the root."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def allowed(of: str) -> set[str]:
    if of in ROOT_FILES:
        return ROOT_FILES[of]
    contract = set() if of in WITHOUT_CONTRACT else CONTRACT
    return MAY_IMPORT[of] | {of} | UNDER_ALL | contract


def test_files_import_only_what_their_row_of_the_table_allows() -> None:
    wrong = [
        f"{module} imports {target}, but {place(module)} is below {place(target)}"
        for module in sorted(MODULES)
        for target in sorted(graph()[module])
        if place(target) not in allowed(place(module))
    ]
    assert wrong == []


def circles() -> list[set[str]]:
    """Return the sets of files that import each other, directly or by way of others."""
    reach: dict[str, set[str]] = {}
    for start in graph():
        seen, queue = set(), list(graph()[start])
        while queue:
            module = queue.pop()
            if module not in seen:
                seen.add(module)
                queue.extend(graph()[module])
        reach[start] = seen
    found: list[set[str]] = []
    for module in graph():
        together = {other for other in reach[module] if module in reach[other]}
        if together and together not in found:
            found.append(together)
    return found


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles() == []


def test_the_table_of_the_documentation_is_this_one() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8").split("\n## ")[1]
    cells = [
        [c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line
    ]
    documented: dict[str, set[str]] = {}
    for number, names, _, ranges in cells[2:]:
        for name in names.replace("`", "").split(", "):
            assert number == ("-" if name in SHELLS else str(LAYERS.index(name) + 1))
            documented[name] = set()
            if ranges == "everything":
                documented[name] = {*LAYERS, *SHELLS} - {"cli"}
            for first, _, last in (part.partition("-") for part in ranges.split(", ")):
                if first.isdigit():
                    documented[name] |= rows(*range(int(first), int(last or first) + 1))
    assert documented == MAY_IMPORT


def test_every_package_stands_in_the_table() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    files = {path.stem for path in PACKAGE.glob("*.py")}
    assert packages == {*MAY_IMPORT, "protocols"}
    assert files == {*ROOT_FILES} - {"protocols"}
