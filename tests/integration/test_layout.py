"""The project's folders and its two lists of plugins agree, and a plugin folder is a template."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import pbkd
from pbkd import hookspecs
from pbkd.config.load import load_config
from pbkd.plugin.registry import SLOTS, build_registry
from tests.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PLUGINS = sorted((ROOT / "plugins").glob("pbkd-*"))
OBSERVERS = {"block_finished", "run_finished"}
# Observers take part in every run that loads them, so pbkd's own are loaded by `--plugin` alone.
ON_DEMAND = {"pbkd-tensorboard"}
# Copied and renamed as the tutorial says.
COPIED = [plugin for plugin in PLUGINS if plugin.name not in ON_DEMAND]


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def module_of(plugin: Path) -> str:
    return plugin.name.replace("-", "_")


def points_of_plugins() -> dict[str, str]:
    points = {"zoo": "pbkd_zoo"}
    for plugin in (plugin for plugin in PLUGINS if plugin.name not in ON_DEMAND):
        points |= project(plugin)["project"]["entry-points"]["pbkd"]
    return points


def test_the_root_lists_the_entry_points_of_every_plugin() -> None:
    assert project(ROOT)["project"]["entry-points"]["pbkd"] == points_of_plugins()


def test_the_root_packs_the_module_of_every_plugin() -> None:
    packed = project(ROOT)["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    modules = [f"plugins/{plugin.name}/{module_of(plugin)}.py" for plugin in PLUGINS]
    assert sorted(packed) == sorted(["pbkd", "zoo/pbkd_zoo", *modules])
    assert all((ROOT / path).exists() for path in packed)


def test_this_environment_has_the_entry_points_of_the_root() -> None:
    installed = {
        point.name: point.value
        for point in entry_points(group="pbkd")
        if point.dist is not None and point.dist.name == "pbkd"
    }
    assert installed == points_of_plugins(), "install anew: pip install --editable '.[dev]'"


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_a_plugin_is_one_module_with_its_test_its_readme_and_its_project(plugin: Path) -> None:
    module = module_of(plugin)
    files = {path.name for path in plugin.iterdir() if path.is_file()}
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
    assert set(hooks) == {*SLOTS.values(), *OBSERVERS}
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
    output = python(copies, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, copies))
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
        ((slot, names),) = registry.plugins[folder.name].provides.items()
        for name in names:
            assert name.startswith("my-")
            wanted = [f"distill.loss={name}"] if len(names) > 1 else []
            config = load_config(wanted, plugins=registry.provided([folder.name]))
            selected = {"meter": config.meters[-1], "loss": config.distill.loss}
            assert (selected[slot] if slot in selected else getattr(config, slot)["name"]) == name
            strategy = registry.find(slot, name)
            source = strategy.error if slot == "loss" else strategy
            assert Path(inspect.getfile(source)).parent == folder


def test_a_copied_and_renamed_plugin_is_found_by_its_path(copies: list[Path]) -> None:
    (folder,) = (folder for folder in copies if folder.name == "my-greedy")
    path = str(folder / "my_greedy.py")
    registry = build_registry([path])
    assert registry.provided_by(path) == {"scheduler": ("my-greedy",)}
    ours = registry.find("scheduler", "greedy")
    theirs = registry.find("scheduler", "my-greedy")
    assert Path(inspect.getfile(theirs)) == Path(path)
    assert theirs is not ours
