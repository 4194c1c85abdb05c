from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.unit.plugin.sources import Install


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs a plugin as pip does, but only for this test."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    before = set(sys.modules)

    def write(name: str, source: str, *, dist: str = "third-party", version: str = "2.1") -> None:
        module = f"installed_{name.replace('-', '_')}"
        (site / f"{module}.py").write_text(dedent(source))
        info = site / f"{dist}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
        points = info / "entry_points.txt"
        head = points.read_text() if points.exists() else "[pbkd]\n"
        points.write_text(f"{head}{name} = {module}\n")

    yield write
    for module in set(sys.modules) - before:
        if module.startswith(("installed_", "pbkd.plugin.files.", "loose_")):
            del sys.modules[module]
