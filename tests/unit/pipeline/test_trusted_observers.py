"""Observers that only a file names take no part: they could write files or send data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from pbkd import ZooModel, hookimpl
from pbkd.errors import TrustError
from pbkd.pipeline.trust import open_config
from pbkd.plugin.registry import Registry, build_registry
from pbkd.zoo.recipes import compression_config

PLUGIN = """
import pbkd

class Spy:
    name = "spy"
    def run_started(self, run):
        pass

@pbkd.hookimpl
def register_observers():
    return [Spy]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text("observers: [spy]\n")
    return file


def test_an_observer_that_only_a_configuration_names_is_refused(config: Path) -> None:
    with pytest.raises(TrustError, match=r"names the observer 'spy'.*--trust"):
        open_config(file=config)


def test_options_that_only_a_configuration_gives_are_refused(config: Path) -> None:
    config.write_text("observers: [{name: spy, server: evil}]\n")
    with pytest.raises(TrustError, match="names the observer 'spy server=evil'"):
        open_config(["seed=1"], file=config)


def test_an_observer_that_is_typed_or_trusted_or_of_a_typed_plugin_takes_part(
    config: Path, tmp_path: Path
) -> None:
    plugin = tmp_path / "spies.py"
    plugin.write_text(PLUGIN)
    for settings, _ in (
        open_config(["observers=[spy]"], file=config),
        open_config(file=config, trust=[config]),
        open_config(file=config, plugins=[str(plugin)]),
        open_config(plugins=[str(plugin)]),
    ):
        assert settings.observers == ["spy"]
    settings, _ = open_config(["observers=[]"], file=config, plugins=[str(plugin)])
    assert settings.observers == []


def test_a_recipe_of_the_zoo_cannot_choose_observers(config: Path) -> None:
    config.write_text("teacher: planted\nobservers: [spy]\n")

    class Zoo:
        @hookimpl
        def register_models(self) -> list[Any]:
            return [ZooModel("planted", nn.Identity, "", (0.5,), (0.5,), recipe=config)]

    registry = _registry(Zoo())
    with pytest.raises(TrustError, match=r"the recipe of 'planted' names the observer 'spy'"):
        compression_config(registry, "planted", [])
    assert compression_config(registry, "planted", ["observers=[]"]).observers == []
    assert compression_config(registry, "planted", ["observers=[spy]"]).observers == ["spy"]


def _registry(plugin: object) -> Registry:
    registry = build_registry()
    registry.add("planted", plugin, version="", origin="here")
    return registry
