"""Plugins that are asked for by name, module or file."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from pbkd.errors import PluginError
from pbkd.plugin.attribution import describe_origin
from pbkd.plugin.registry import Registry, build_registry, load_plugin
from tests.unit.plugin.sources import MISSPELT, OWN, Install, scheduler


def test_a_plugin_is_asked_for_by_name_module_or_file(install: Install, tmp_path: Path) -> None:
    install("thrifty", scheduler("thrifty"))
    (tmp_path / "site" / "loose_module.py").write_text(scheduler("loose"))
    file = tmp_path / "my-file.py"
    file.write_text(scheduler("filed"))
    specs = ["thrifty", "loose_module", str(file)]
    registry = build_registry(specs)
    assert [registry.provided_by(spec) for spec in specs] == [
        {"scheduler": ("thrifty",)},
        {"scheduler": ("loose",)},
        {"scheduler": ("filed",)},
    ]
    assert registry.plugins["loose_module"].origin == str(tmp_path / "site" / "loose_module.py")
    assert registry.plugins[str(file)].origin == str(file)
    assert list(registry.plugins) == [*OWN, *specs]


def test_an_installed_plugin_may_also_be_asked_for_by_its_module(registry: Registry) -> None:
    assert load_plugin(registry, "pbkd_greedy") is registry.plugins["greedy"]


@pytest.mark.usefixtures("install")
def test_two_files_of_the_same_name_are_two_plugins(tmp_path: Path) -> None:
    files = [tmp_path / "a" / "plugin.py", tmp_path / "b" / "plugin.py"]
    for file in files:
        file.parent.mkdir()
        file.write_text(scheduler(file.parent.name))
    registry = build_registry([str(file) for file in files])
    modules = {sys.modules[registry.find("scheduler", name).__module__] for name in ("a", "b")}
    assert {module.__file__ for module in modules} == {str(file) for file in files}


@pytest.mark.usefixtures("install")
@pytest.mark.parametrize("name", ["my-file", "a.b", "100%2E", "with space", "größe"])
def test_what_a_file_defines_is_unpickled_where_the_file_is_not_imported_yet(
    tmp_path: Path, name: str
) -> None:
    file = tmp_path / f"{name}.py"
    file.write_text(scheduler("filed"))
    strategy = build_registry([str(file)]).find("scheduler", "filed")
    assert build_registry([str(file)]).find("scheduler", "filed") is strategy
    assert describe_origin(strategy) == f"the plugin '{file.name}'"
    pickled = pickle.dumps(strategy)
    assert pickle.loads(pickled) is strategy
    del sys.modules[strategy.__module__]
    assert pickle.loads(pickled).name == "filed"
    assert [path.name for path in tmp_path.iterdir() if path.name != "site"] == [file.name]


@pytest.mark.usefixtures("install")
def test_a_file_that_has_changed_is_loaded_again(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    for name in ("one", "two"):  # of the same length, within one second
        file.write_text(scheduler(name))
        assert build_registry([str(file)]).provided_by(str(file)) == {"scheduler": (name,)}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def (", "SyntaxError: "),
        ("import no_such_module", "No module named 'no_such_module'"),
        (MISSPELT, "unknown hook 'register_sheduler'"),
        (scheduler("greedy"), "it registers the scheduler 'greedy', a name already taken by"),
        ("x = 1", "it has no function marked @pbkd.hookimpl."),
    ],
)
def test_a_broken_plugin_that_was_asked_for_is_an_error(
    install: Install, tmp_path: Path, source: str, reason: str
) -> None:
    install("sick", source)
    file = tmp_path / "sick.py"
    file.write_text(source)
    for spec, told in [
        ("sick", "the plugin 'sick' (third-party 2.1) is broken: "),
        ("installed_sick", "the plugin 'installed_sick' "),
        (str(file), f"the plugin '{file}' "),
    ]:
        with pytest.raises(PluginError) as caught:
            build_registry([spec])
        assert str(caught.value).startswith(told)
        assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("gredy", "there is no plugin 'gredy': .* Did you mean 'greedy'"),
        ("no-such.module", "there is no plugin 'no-such.module': "),
        ("pbkd.no_such_module", "fails to import: No module named 'pbkd.no_such_module'"),
        ("nowhere/file.py", "^there is no file 'nowhere/file.py'"),
        ("../folder", "the plugin '../folder' fails to import"),
        ("", "the plugin '' fails to import"),
        ("sys", "the plugin 'sys' is broken: it has no function"),  # has no file either
    ],
)
def test_what_is_no_plugin_is_an_error(spec: str, reason: str) -> None:
    with pytest.raises(PluginError, match=reason) as caught:
        build_registry([spec])
    assert "\n" not in str(caught.value)


def test_the_file_of_an_installed_plugin_is_that_plugin(install: Install, tmp_path: Path) -> None:
    install("thrifty", scheduler("thrifty"))
    registry = build_registry([str(tmp_path / "site" / "installed_thrifty.py")])
    assert list(registry.plugins) == [*OWN, "thrifty"]


def test_the_name_of_a_file_without_its_ending_suggests_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(scheduler("mine"))
    with pytest.raises(PluginError, match=r"or a \.py file\. Did you mean 'mine\.py'\?$"):
        build_registry(["mine"])
