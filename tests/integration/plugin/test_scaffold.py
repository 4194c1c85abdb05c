"""Plugins begun by `pbkd plugins new`, tested in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pbkd.plugin.scaffold import KINDS, new_plugin
from tests.integration.test_layout import install

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.plugin.registry import Registry


@pytest.mark.slow
def test_the_tests_of_new_plugins_pass_beside_each_other(
    registry: Registry, tmp_path: Path
) -> None:
    kinds = [kind for kind in KINDS if kind != "launcher"]  # which starts processes for a while
    folders = [new_plugin(registry, kind, f"my-{kind}", tmp_path) for kind in kinds]
    for folder in folders:
        install(folder)
    path = [*map(str, folders), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
    )
    assert f"{2 * len(kinds)} passed" in done.stdout, done.stdout + done.stderr
