from __future__ import annotations

from pathlib import Path

import pytest
from pbkd_greedy import Greedy

import pbkd
from pbkd.errors import ScheduleError
from pbkd.plugin.attribution import describe_failure, describe_origin, describe_strategy
from pbkd.plugin.registry import build_registry

MINE = """
from dataclasses import dataclass
from typing import ClassVar

from pbkd import hookimpl


@dataclass(frozen=True)
class Mine:
    name: ClassVar[str] = "mine"

    def schedule(self, costs, workers):
        return costs[9]


@hookimpl
def register_schedulers():
    return [Mine]
"""
BUILT_IN = f"the plugin 'greedy' (pbkd {pbkd.__version__})"


def test_an_installed_plugin_is_named_with_its_distribution() -> None:
    assert describe_origin(Greedy()) == BUILT_IN
    assert describe_strategy("scheduler", Greedy) == f"the scheduler 'greedy' of {BUILT_IN}"


def test_a_plugin_in_a_package_is_named_wherever_in_it_the_class_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "thrifty_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "deep.py").write_text(MINE)
    info = tmp_path / "thrifty_dist-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thrifty-dist\nVersion: 2.1\n")
    (info / "entry_points.txt").write_text("[pbkd]\nthrifty = thrifty_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("thrifty_package.deep", fromlist=["Mine"])
    assert describe_origin(module.Mine()) == "the plugin 'thrifty' (thrifty-dist 2.1)"


def test_a_plugin_that_is_not_installed_is_named_by_its_file_without_its_folder(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    mine = build_registry([str(path)]).find("scheduler", "mine")()
    with pytest.raises(IndexError) as caught:
        mine.schedule((), ())
    assert describe_failure("scheduler", mine, "schedule", caught.value) == (
        "the scheduler 'mine' of the plugin 'mine.py' failed in schedule"
        " (IndexError: tuple index out of range)"
    )


def test_what_pbkd_finds_wrong_is_told_without_a_type() -> None:
    error = ScheduleError("the schedule drops the blocks a.")
    assert describe_failure("scheduler", Greedy(), "schedule", error) == (
        f"the scheduler 'greedy' of {BUILT_IN} failed in schedule (the schedule drops the blocks a)"
    )
