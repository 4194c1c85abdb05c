"""Wheel and editable installation hold every plugin's folder, and each folder is a template."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from importlib.metadata import entry_points
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

import pbkd
from pbkd import hookspecs
from pbkd.config.load import load_config
from pbkd.config.schema import STRATEGIES
from pbkd.plugin.registry import build_registry
from pbkd.plugin.slots import SLOTS
from tests.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PLUGINS = sorted((ROOT / "plugins").glob("pbkd-*"))


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def on_demand(plugin: Path) -> bool:
    return bool(project(plugin).get("tool", {}).get("pbkd", {}).get("on-demand", False))


# Copied and renamed as the tutorial says.
COPIED = [plugin for plugin in PLUGINS if not on_demand(plugin)]


def module_of(plugin: Path) -> str:
    return plugin.name.replace("-", "_")


def points_of_plugins() -> dict[str, str]:
    points = {"zoo": "pbkd_zoo"}
    for plugin in COPIED:
        points |= project(plugin)["project"]["entry-points"]["pbkd"]
    return points


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, zipfile.ZipFile]:
    """The wheel, and the one that an editable installation unpacks, built by hatchling."""
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    versions = ("standard", "editable")
    folders = {version: str(tmp_path_factory.mktemp(version)) for version in versions}
    return {
        version: zipfile.ZipFile(
            next(wheel.WheelBuilder(str(ROOT)).build(directory=folder, versions=[version]))
        )
        for version, folder in folders.items()
    }


@pytest.mark.parametrize("version", ["standard", "editable"])
def test_a_wheel_has_the_entry_points_of_every_plugin(
    version: str, wheels: dict[str, zipfile.ZipFile]
) -> None:
    (path,) = (name for name in wheels[version].namelist() if name.endswith("entry_points.txt"))
    points = ConfigParser(delimiters=["="])
    points.read_string(wheels[version].read(path).decode())
    assert dict(points["pbkd"]) == points_of_plugins()
    assert dict(points["console_scripts"]) == {"pbkd": "pbkd.cli:main"}
    assert dict(points["pytest11"]) == {"pbkd": "pbkd.testing.pytest_plugin"}


def test_the_wheel_holds_the_module_of_every_plugin_the_core_and_the_zoo(
    wheels: dict[str, zipfile.ZipFile],
) -> None:
    wheel = wheels["standard"]
    names = set(wheel.namelist())
    for plugin in PLUGINS:
        source = plugin / f"{module_of(plugin)}.py"
        assert wheel.read(source.name) == source.read_bytes()
    modules = {f"{module_of(plugin)}.py" for plugin in PLUGINS}
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "pbkd",
        "pbkd_zoo",
        *modules,
    }
    for folder, package in ((ROOT, "pbkd"), (ROOT / "zoo", "pbkd_zoo")):
        tree = [path for path in (folder / package).rglob("*") if path.is_file()]
        files = {path.relative_to(folder).as_posix() for path in tree if path.suffix != ".pyc"}
        assert files == {name for name in names if name.startswith(f"{package}/")}


def test_an_editable_installation_finds_the_core_the_zoo_and_every_plugin(
    wheels: dict[str, zipfile.ZipFile],
) -> None:
    wheel = wheels["editable"]
    paths = [name for name in wheel.namelist() if name.endswith(".pth")]
    lines = [line for path in paths for line in wheel.read(path).decode().splitlines()]
    assert sorted(lines) == sorted(map(str, (ROOT, ROOT / "zoo", *PLUGINS)))
    assert [name for name in wheel.namelist() if name.endswith(".py")] == []


def test_built_in_observers_are_loaded_on_demand() -> None:
    for plugin in PLUGINS:
        source = (plugin / f"{module_of(plugin)}.py").read_text()
        assert "\ndef register_observers" not in source or on_demand(plugin), plugin.name


def test_this_environment_has_the_entry_points_of_the_root() -> None:
    installed = {
        point.name: point.value
        for point in entry_points(group="pbkd")
        if point.dist is not None and point.dist.name == "pbkd"
    }
    assert installed == points_of_plugins(), "install anew: make unit"


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_a_plugin_is_one_module_with_its_test_its_readme_and_its_project(plugin: Path) -> None:
    module = module_of(plugin)
    test = (plugin / f"test_{module}.py").read_text()
    files = {path.name for path in plugin.iterdir() if path.is_file()}
    files -= {name for name in files if name.endswith("_stub.c") and f'"{name}"' in test}
    assert files == {f"{module}.py", f"test_{module}.py", "README.md", "pyproject.toml"}
    about = project(plugin)["project"]
    assert about["name"] == plugin.name
    assert about["version"] == pbkd.__version__
    assert about["license"] == project(ROOT)["project"]["license"]
    assert about["requires-python"] == project(ROOT)["project"]["requires-python"]
    assert about["readme"] == "README.md"
    # Installed beside pbkd it would overwrite a part of it.
    assert about["classifiers"] == ["Private :: Do Not Upload"]
    assert "pbkd" in about["dependencies"]
    assert " for pbkd: " in about["description"]
    assert about["entry-points"]["pbkd"] == {plugin.name.removeprefix("pbkd-"): module}
    wheel = project(plugin)["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"only-include": [f"{module}.py"]}
    assert f"\nPBKD_CONTRACT = {hookspecs.CONTRACT}\n" in (plugin / f"{module}.py").read_text()
    readme = (plugin / "README.md").read_text()
    assert readme.startswith(f"# {plugin.name}\n")
    assert "copy and rename the folder to start your own" in readme


def test_every_hook_is_typed_and_documented() -> None:
    hooks = {
        name: hook
        for name, hook in inspect.getmembers(hookspecs, inspect.isfunction)
        if hook.__module__ == hookspecs.__name__
    }
    assert set(hooks) == set(SLOTS.values())
    for name, hook in hooks.items():
        assert hook.__doc__, name
        assert hook.__doc__.rstrip().endswith("."), name
        signature = inspect.signature(hook)
        empty = inspect.Signature.empty
        assert signature.return_annotation is not empty, name
        assert all(p.annotation is not empty for p in signature.parameters.values()), name


def test_every_registering_hook_has_a_built_in_user() -> None:
    sources = [(plugin / f"{module_of(plugin)}.py").read_text() for plugin in PLUGINS]
    sources.append((ROOT / "zoo" / "pbkd_zoo" / "__init__.py").read_text())
    for hook in SLOTS.values():
        assert any(f"@hookimpl\ndef {hook}(" in source for source in sources), hook


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A copy of every plugin's folder, renamed as docs/write-a-plugin.md says, and installed."""
    parent = tmp_path_factory.mktemp("copies")
    provided = build_registry().plugins
    folders = [
        renamed(plugin, parent, sum(provided[named(plugin)].provides.values(), ()))
        for plugin in COPIED
    ]
    for folder in folders:
        install(folder)
    return folders


def named(plugin: Path) -> str:
    return plugin.name.removeprefix("pbkd-")


def renamed(plugin: Path, parent: Path, provided: tuple[str, ...]) -> Path:
    """Copy the folder of the plugin `x` below `parent`, as `my-x`, and so with all it provides."""
    name = named(plugin)
    module, new = module_of(plugin), f"my_{name.replace('-', '_')}"
    folder = parent / f"my-{name}"
    shutil.copytree(plugin, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in list(folder.iterdir()):
        text = path.read_text().replace(module, new).replace(plugin.name, folder.name)
        for word in {name, *provided}:
            text = text.replace(f'"{word}"', f'"my-{word}"')
        text = re.sub(rf"^{name} = ", f"{folder.name} = ", text, flags=re.MULTILINE)
        path.rename(path.with_name(path.name.replace(module, new))).write_text(text)
    return folder


def install(folder: Path) -> None:
    """Do what an editable install does: write the project's metadata where Python looks."""
    about = project(folder)["project"]
    info = folder / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    )
    points = [f"{name} = {value}" for name, value in about["entry-points"]["pbkd"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[pbkd]", *points, ""]))


def python(folders: list[Path], *arguments: str) -> str:
    """Run Python beside and with folders of installed plugins; return what it printed."""
    path = [*map(str, folders), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folders[0].parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_copied_and_renamed_plugin_is_found_once_installed(copies: list[Path]) -> None:
    command = ["-c", "from pbkd.cli import main; main()", "plugins", "list"]
    lines = [line.split() for line in python(copies, *command).splitlines()]
    for folder in copies:
        assert [folder.name, "0.1.0", folder.name] in [line[:3] for line in lines]
    assert ["my-greedy", "0.1.0", "my-greedy", "scheduler", "my-greedy"] in lines
    assert ["greedy", "0.1.0", "pbkd", "scheduler", "greedy"] in lines
    assert not any(line[0] == "broken:" for line in lines)


@pytest.mark.slow
def test_the_tests_of_every_copied_and_renamed_plugin_pass(copies: list[Path]) -> None:
    output = python(
        copies, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *map(str, copies)
    )
    passed = re.search(r"^(\d+) passed", output, re.MULTILINE)
    assert passed, output
    assert int(passed[1]) > 5 * len(copies)


def test_every_copied_and_renamed_plugin_is_selected_by_its_name(
    copies: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in copies:
        monkeypatch.syspath_prepend(folder)
    registry = build_registry()
    assert registry.broken == []
    for folder in copies:
        for slot, names in registry.plugins[folder.name].provides.items():
            keys = [key for key, of in STRATEGIES.items() if of == slot and key != "finetune.loss"]
            for name in names:
                assert name.startswith("my-")
                assert Path(inspect.getfile(registry.find(slot, name))).parent == folder
                if not keys and slot != "meter":
                    continue  # a command selects it, not the configuration
                wanted = [f"{key}={name}" for key in keys] if len(names) > 1 else []
                config = load_config(wanted, plugins=registry.provided([folder.name]))
                selected = [attrgetter(key)(config)["name"] for key in keys]
                assert set(selected or [config.meters[-1]]) == {name}


def test_a_copied_and_renamed_plugin_is_found_by_its_path(copies: list[Path]) -> None:
    (folder,) = (folder for folder in copies if folder.name == "my-greedy")
    path = str(folder / "my_greedy.py")
    registry = build_registry([path])
    assert registry.provided_by(path) == {"scheduler": ("my-greedy",)}
    ours = registry.find("scheduler", "greedy")
    theirs = registry.find("scheduler", "my-greedy")
    assert Path(inspect.getfile(theirs)) == Path(path)
    assert theirs is not ours
