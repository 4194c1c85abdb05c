"""Plugins as others write them, each a project of its own, pass the tests of the kit.

`tests/integration/test_wheel.py` installs them beside the wheel and uses all of them in a run.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pbkd.plugin.registry import build_registry, load_plugin
from pbkd.testing import examine

PLUGINS = sorted(Path(__file__).parent.glob("pbkd-*/pbkd_*.py"))
SLOW = {"pbkd_spawning", "pbkd_milp_scheduler"}
NOT_CHECKED = {"partitioner pairs"}  # none of the kit's networks is a row of layers


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in SLOW)) for path in PLUGINS],
    ids=lambda path: path.stem,
)
def test_the_plugin_passes_the_tests_of_its_kind(path: Path) -> None:
    registry = build_registry()
    (check,) = examine(registry, load_plugin(registry, str(path)))
    wanted = None if check.name in NOT_CHECKED else True
    assert check.passed is wanted, check.detail
