"""Code that a file names, planted in every way, under every verb: none of it runs unasked."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pbkd import cli
from pbkd.config.checksum_line import with_checksum
from pbkd.core.files import write_json
from pbkd.errors import TrustError
from pbkd.pipeline.own_runs import recall_code, remember_code
from pbkd.pipeline.trust import open_config, open_run
from pbkd.plugin.user_code import named_plugins, other_code
from pbkd.runs.checksums import write_checksums
from tests.hub_stand_in import hub_stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    import typer

    from tests.command_line import Pbkd

EVIL = """
from pathlib import Path
from torch import nn
from pbkd import hookimpl

Path(__file__).with_name("canary").write_text(__name__)

def make():
    return nn.Identity()

@hookimpl
def register_models():
    return []
"""
CODE: dict[str, dict[str, Any]] = {
    "a plugin beside": {"plugins": ["evil.py"]},
    "a plugin in disguise": {"plugins": ["./zoo/../evil.py"]},
    "a module as plugin": {"plugins": ["evil"]},
    "a module of a package": {"plugins": ["evil.sub.module"]},
    "a teacher": {"teacher": {"name": "evil:make"}},
    "a teacher in short": {"teacher": "evil:make"},
    "a teacher of the standard library": {
        "teacher": {"name": "os:system", "command": "touch canary"}
    },
    "data": {"data": {"name": "evil:make"}},
    "data of the standard library": {"data": {"name": "os:system", "command": "touch canary"}},
    "a cluster": {"launcher": {"name": "ray", "address": "127.0.0.1:1"}},
}
"""What a configuration can name that is code."""
DATA: dict[str, dict[str, Any]] = {
    "weights": {"teacher": {"name": "digits-vgg", "weights": "evil.pt"}},
    "a data file": {"data": {"name": "npz", "path": "evil.npz"}},
    "partitioner": {"partitioner": {"name": "evil:make"}},
    "builder": {"builder": {"name": "evil.py"}},
    "scheduler": {"scheduler": {"name": "evil:make"}},
    "launcher": {"launcher": "evil:make"},
    "candidates": {"candidates": [{"name": "evil:make"}]},
    "meters": {"meters": ["evil:make"]},
    "loss": {"distill": {"loss": "evil:make"}},
    "a resolver": {"out": "${oc.env:HOME}/${evil:make}", "data": {"name": "${oc.env:HOME}"}},
}
"""What cannot be code, in any place."""
READING: dict[str, list[list[str]]] = {
    "run": [
        ["--config", "f.yaml"],
        ["--config", "f.yaml", "--plan"],
        ["--config", "f.yaml", "--print-config"],
        ["--resume", "stopped"],
        ["--resume", "stopped", "--print-config"],
        ["--resume", "out=."],
    ],
    "curve": [["--config", "f.yaml"], ["--config", "f.yaml", "--plan"], ["--resume", "stopped"]],
    "pick": [["run", "0.35"], ["stopped", "0.35"]],
    "plan": [
        ["--config", "f.yaml"],
        ["--config", "f.yaml", "--workers", "1"],
        ["--against", "run"],
    ],
    "status": [["stopped"], ["run"]],
    "watch": [["stopped"], ["run", "--json"]],
    "report": [["run"], ["run", "run"]],
    "compare": [["run", "run"]],
    "baseline": [["run"], ["run", "--against", "scratch", "--seconds", "0.01"]],
    "latency": [["run", "--repeats", "1"], ["bare", "--batch", "1", "--repeats", "1"]],
    "export": [["run", "--format", "safetensors"], ["bare", "--format", "safetensors"]],
    "zoo add": [["run", "--to", "zoo"], ["run", "--half", "--to", "zoo"]],
    "hub push": [["run", "someone/small"], ["bare", "someone/small"]],
}
"""By verb, its arguments: all that read a configuration, a run or a student."""
LISTING: dict[str, list[list[str]]] = {
    **{f"zoo {verb}": [["bare"]] for verb in ("show", "verify", "train", "compress")},
    **{verb: [[]] for verb in ("zoo list", "zoo path", "hub list", "doctor")},
    **{f"plugins {verb}": [["ghost"]] for verb in ("show", "check")},
    "hub show": [["someone/small"]],
    "cut": [["bare"]],
    "bench": [["bare"]],
    "plugins list": [[]],
    "plugins new": [["evil", "--kind", "loss"]],
    "plugins hooks": [[]],
}
"""The other verbs, which read at most a zoo folder."""


class World:
    """Files in the current folder that name planted code."""

    def __init__(self, finished: Path) -> None:
        self.finished = finished
        Path("evil.py").write_text(EVIL)
        Path("evil.pt").write_bytes(pickle.dumps(_Call(Path("canary").absolute())))
        for name in ("torch", "timm", "yaml", "pbkd_zoo", "pbkd_local", "conftest", "digits"):
            Path(f"{name}.py").write_text(EVIL)
        Path("evil.pth").write_text("import evil\n")
        shutil.copytree(finished, "run")
        shutil.copytree(finished, "stopped", ignore=shutil.ignore_patterns("README.md"))
        shutil.copytree(finished / "student", "zoo/bare")
        Path("zoo/bare/card.yaml").write_text("name: bare\ndata: {name: 'evil:make'}\n")
        Path("bare").symlink_to("zoo/bare")

    def plant(self, changes: dict[str, Any]) -> None:
        """Plant a change in every file that is like a configuration."""
        whole = yaml.safe_load((self.finished / "config.yaml").read_text())
        text = yaml.safe_dump(whole | changes)
        Path("f.yaml").write_text(text)
        for folder in ("run", "stopped", "zoo/bare"):
            Path(folder, "config.yaml").write_text(with_checksum(text))
        write_checksums(Path("run"), {"README.md": Path("run/README.md").read_bytes()})
        for folder in ("run/student", "zoo/bare"):
            recipe = json.loads((self.finished / "student" / "config.json").read_text())
            recipe |= {key: changes[key] for key in ("teacher", "partitioner") & changes.keys()}
            recipe["plugins"] = changes.get("plugins", [])
            write_json(Path(folder, "config.json"), recipe)


class _Call:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)


@pytest.fixture
def world(pbkd: Pbkd, finished: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A folder full of planted code, which is the current one; `pbkd` has entered it."""
    assert callable(pbkd)
    monkeypatch.setenv("PBKD_ZOO", "zoo")
    monkeypatch.setenv("XDG_STATE_HOME", str(Path("state").absolute()))
    monkeypatch.setattr("sys.path", [*sys.path])
    with hub_stand_in(Path("cache").absolute()):
        yield World(finished)
    sys.modules.pop("evil", None)


def commands(verbs: dict[str, list[list[str]]]) -> list[tuple[str, ...]]:
    return [(*verb.split(), *rest) for verb, uses in verbs.items() for rest in uses]


def check_nothing_ran() -> None:
    assert not Path("canary").exists()
    assert "evil" not in sys.modules


@pytest.mark.parametrize("way", CODE)
def test_no_verb_runs_what_a_file_names(way: str, world: World, pbkd: Pbkd) -> None:
    world.plant(CODE[way])
    whole = way == "a plugin beside"
    for command in commands(READING if whole else {"run": READING["run"], "plan": READING["plan"]}):
        ended = pbkd(*command)
        check_nothing_ran()
        assert ended.code in (0, 1, 2), (command, ended)
        assert ended.err.count("\n") == (ended.code == 2), (command, ended.err)
        refused = command[0] in ("baseline", "curve", "run") and "--print-config" not in command
        assert ended.code == 2 or not refused, command
        if refused:
            name = "stopped" if "--resume" in command else "f.yaml"
            name = "run" if command[0] == "baseline" else name
            assert f"add --trust {name}." in ended.err, (command, ended.err)


@pytest.mark.parametrize("way", DATA)
def test_other_names_are_never_code(way: str, world: World, pbkd: Pbkd) -> None:
    world.plant(DATA[way])
    printed = pbkd("run", "--config", "f.yaml", "--print-config")
    assert printed.err.count("\n") == (printed.code == 2), printed
    ended = pbkd("run", "--config", "f.yaml", "threads=1")
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended
    check_nothing_ran()


def test_a_verb_that_lists_runs_nothing_that_is_planted(world: World, pbkd: Pbkd) -> None:
    world.plant({"plugins": ["evil.py"], "teacher": {"name": "evil:make"}})
    for command in commands(LISTING):
        ended = pbkd(*command)
        assert ended.code in (0, 1, 2), (command, ended)
        assert ended.err.count("\n") == (ended.code == 2), (command, ended.err)
        check_nothing_ran()


def verbs_of(app: typer.Typer, prefix: str = "") -> set[str]:
    named = {prefix + str(command.name) for command in app.registered_commands}
    for group in app.registered_groups:
        assert group.typer_instance is not None
        named |= verbs_of(group.typer_instance, f"{prefix}{group.name} ")
    return named


def test_every_verb_is_attacked() -> None:
    assert {*READING, *LISTING} == verbs_of(cli.app)


@pytest.mark.parametrize("change", [CODE["a plugin beside"], CODE["a teacher"], CODE["data"]])
@pytest.mark.parametrize("trusted", ["f.yaml", ".", "link"])
def test_what_the_user_vouches_for_runs(
    change: dict[str, Any], trusted: str, world: World, pbkd: Pbkd
) -> None:
    world.plant({"data": {"name": "npz", "path": "missing.npz"}, **change})
    Path("link").symlink_to("f.yaml")
    pbkd("run", "--config", "f.yaml", "--trust", trusted)
    assert "evil" in Path("canary").read_text()


def test_what_the_user_types_runs(world: World, pbkd: Pbkd) -> None:
    world.plant(CODE["a plugin beside"])
    pbkd("run", "--config", "f.yaml", "--plugin", "evil.py", "--print-config")
    Path("canary").unlink()
    ended = pbkd("run", "--config", "f.yaml", "teacher=evil:make", "--trust", "elsewhere")
    assert "there is no file or folder 'elsewhere' to trust" in ended.err
    check_nothing_ran()
    for typed in (["teacher=evil:make", "data=npz", "data.path=missing.npz"], ["data=evil:make"]):
        sys.modules.pop("evil", None)
        pbkd("run", *typed)
        assert Path("canary").read_text() == "evil"
        Path("canary").unlink()
    assert sys.path[-1] == str(Path.cwd()) != sys.path[0], "what is installed is found before"


def test_the_users_own_runs_keep_their_code(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.plant({**CODE["a plugin beside"], **CODE["a teacher"], **CODE["data"]})
    config, registry = open_config(file=Path("f.yaml"), trust=[Path("f.yaml")])
    with pytest.raises(TrustError):
        open_run(Path("stopped"))
    names = config.teacher["name"], config.data["name"]
    others = other_code(registry, *names, config.launcher)
    remember_code(Path("stopped"), [*named_plugins(config.plugins), *others])
    assert open_run(Path("stopped"))[1].functions == {"evil:make"}
    shutil.copytree("stopped", "copy")
    with pytest.raises(TrustError, match="'copy/config.yaml' names the plugin '.*evil.py'"):
        open_run(Path("copy"))
    Path("stopped/config.yaml").write_text(with_checksum("plugins: [evil.py, other.py]\n"))
    with pytest.raises(TrustError, match="names the plugin '.*other.py'"):
        open_run(Path("stopped"))
    Path("stopped/config.yaml").write_text(with_checksum("teacher: evil:make\n"))
    (record,) = Path(os.environ["XDG_STATE_HOME"]).glob("pbkd/runs/*.json")
    record.chmod(0o666)
    with pytest.raises(TrustError):
        open_run(Path("stopped"))
    record.chmod(0o600)
    folder = Path("stopped").absolute()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrustError, match=f"add --trust {folder}."):
        open_run(folder)  # here the name leads elsewhere


@pytest.mark.slow
def test_python_m_finds_no_module_in_the_current_folder(world: World) -> None:
    world.plant({})
    command = [sys.executable, "-m", "pbkd", "plugins", "list"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    check_nothing_ran()


def test_a_user_without_a_home_has_no_record_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless(_cls: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", classmethod(homeless))
    remember_code(tmp_path, [("plugin", "mine.py", "mine.py")])
    assert recall_code(tmp_path) == set()
