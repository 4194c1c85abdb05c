"""`~` in the arguments of the verbs, and in the settings of a run that are paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pbkd.cli import app, plugins, zoo
from pbkd.cli.home import with_home
from pbkd.errors import RunFolderError
from tests.command_line import SCHEDULER_PLUGIN, Pbkd, mistake


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    return folder


def test_only_arguments_that_are_paths_are_changed(home: Path) -> None:
    @with_home
    def verb(**given: Any) -> Any:
        return given

    assert verb(
        one=Path("~/a"), more=[Path("~"), Path("b")], text="~/c", none=None, words=["~"]
    ) == {
        "one": home / "a",
        "more": [home, Path("b")],
        "text": "~/c",
        "none": None,
        "words": ["~"],
    }


def test_every_verb_has_its_paths_expanded() -> None:
    commands = [c for group in (app, zoo.app, plugins.app) for c in group.registered_commands]
    assert len(commands) > 20
    for command in commands:
        assert command.callback
        assert command.callback.__code__ is with_home(print).__code__, command.callback


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--resume", "~/x"],
        ["run", "--config", "~/x"],
        ["run", "--config=~/x"],
        ["run", "--plugin", "~/x.py"],
        ["run", "plugins=[~/x.py]"],
        ["status", "~/x"],
        ["watch", "~/x"],
        ["compare", "~/x"],
        ["report", "~/x", "~/y"],
        ["baseline", "~/x"],
        ["plan", "--costs", "~/x"],
        ["plan", "--cluster=~/x"],
        ["plan", "--against", "~/x"],
        ["zoo", "add", "~/x"],
    ],
)
def test_a_path_that_is_missing_is_looked_for_in_the_home_folder(
    pbkd: Pbkd, home: Path, arguments: list[str]
) -> None:
    assert f"{home}/x" in mistake(pbkd(*arguments))
    assert list(Path.cwd().iterdir()) == []


def test_a_plugin_in_the_home_folder_is_found(pbkd: Pbkd, home: Path) -> None:
    (home / "mine.py").write_text(SCHEDULER_PLUGIN)
    ended = pbkd("run", "--plugin", "~/mine.py", "--print-config")
    assert "scheduler:\n  name: mine\n" in ended.out
    (home / "project").mkdir()
    (home / "project" / "theirs.py").write_text(SCHEDULER_PLUGIN)
    assert "no plugin" not in pbkd("plugins", "check", "~/project").out


def test_a_folder_for_runs_that_cannot_be_written_is_told_before_anything_is_planned(
    pbkd: Pbkd, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned(*_given: object, **_named: object) -> None:
        raise RunFolderError("it was planned.")

    monkeypatch.setattr("pbkd.pipeline.run._plan", planned)
    (home / "file").write_text("")
    told = mistake(pbkd("run", "meters=[]", "out=~/file/runs"))
    assert told == f"'{home}/file/runs' cannot hold a run folder: Not a directory."
    assert mistake(pbkd("run", "meters=[]", "out=~/some runs")) == "it was planned."
    assert [path.name for path in home.iterdir()] == ["file"]
    assert list(Path.cwd().iterdir()) == []


def test_a_folder_with_an_equals_sign_is_no_override(pbkd: Pbkd) -> None:
    Path("a=b").mkdir()
    assert mistake(pbkd("run", "--resume", "a=b")).startswith("'a=b' holds no run that can be")
    assert mistake(pbkd("run", "--resume", "out=c")).startswith("there is no run in 'c'")
