"""Plugins import pbkd only through the modules that docs/hooks.md names."""

from __future__ import annotations

import ast
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from pbkd.plugin.interfaces import PACKAGES, PUBLIC_MODULES
from tests.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCES = sorted([*ROOT.glob("plugins/*/*.py"), *ROOT.glob("tests/authors/*/*.py")])
LAUNCHERS = {"pbkd_local.py", "pbkd_torchrun.py", "pbkd_ray.py", "pbkd_spawning.py"}
LAUNCHER_TESTS = {"test_pbkd_torchrun.py", "test_pbkd_ray.py"}
TESTS_ONLY = "pbkd.testing"


def pbkd_imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yield module and name of each import of pbkd, wherever it stands in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "pbkd":
                    yield alias.name, ""
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pbkd":
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                if module in {*PUBLIC_MODULES, *PACKAGES}:
                    yield module, ""
                else:
                    yield node.module or "", alias.name


def is_public(path: Path, module: str, name: str) -> bool:
    if module == TESTS_ONLY:
        return path.name.startswith("test_")
    if module not in {*PUBLIC_MODULES, *PACKAGES}:
        return False
    exported = getattr(import_module(module), "__all__", None)
    return not name or exported is None or name in exported


def test_plugins_import_only_public_names() -> None:
    internal = [
        f"{path.name} imports {name} of {module}"
        for path in SOURCES
        for module, name in pbkd_imports(path)
        if not is_public(path, module, name)
    ]
    assert internal == []


def test_only_launchers_import_the_execution_package() -> None:
    importers = {
        path.name
        for path in SOURCES
        if any(module == "pbkd.execution" for module, _ in pbkd_imports(path))
    }
    assert importers == LAUNCHERS | LAUNCHER_TESTS


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_can_be_imported(package: str) -> None:
    module = import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'missing'"):
        module.missing  # noqa: B018


@pytest.mark.parametrize(
    ("source", "internal"),
    [
        ("from pbkd.runs.events import record", True),
        ("import pbkd.core.files", True),
        ("from pbkd.execution.worker import work", True),
        ("from pbkd.execution import work", True),
        ("from pbkd import execution", False),
        ("from pbkd.execution import launch_remotely", False),
        ("if TYPE_CHECKING:\n    from pbkd.core.blocks import Block", True),
        ("def f():\n    from pbkd.testing import check_meter", True),
    ],
)
def test_the_rule_finds_internal_imports(source: str, internal: bool, tmp_path: Path) -> None:
    path = tmp_path / "pbkd_example.py"
    path.write_text(source)
    assert all(is_public(path, *found) for found in pbkd_imports(path)) != internal
