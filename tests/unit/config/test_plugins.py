"""Plugins that take a slot of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pbkd.config.load import load_config, to_yaml
from pbkd.config.schema import RunConfig
from pbkd.errors import ConfigError, PluginError
from pbkd.plugin.registry import build_registry
from tests.unit.config.test_files import write

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.plugin.registry import Registry


PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar

from pbkd import hookimpl
"""


SCHEDULER = """
@dataclass(frozen=True)
class {kind}:
    name: ClassVar[str] = "{name}"
    seed: int = 0

    def schedule(self, *given):
        raise NotImplementedError

    accepts = partition = open = schedule


@hookimpl
def register_{slot}s():
    return [{kind}]
"""


def plugin(folder: Path, name: str, slot: str = "scheduler") -> str:
    """Write a plugin file that registers one strategy; return its path."""
    path = folder / f"{name}.py"
    path.write_text(PLUGIN + SCHEDULER.format(kind=name.title(), name=name, slot=slot))
    return str(path)


def test_a_plugin_given_by_name_takes_its_slot(tmp_path: Path) -> None:
    spec = plugin(tmp_path, "mine")
    registry = build_registry([spec])
    config = load_config(plugins=registry.provided([spec]))
    assert config == RunConfig(scheduler={"name": "mine"}, plugins=[spec])


def test_a_plugin_stands_between_the_file_and_the_overrides(tmp_path: Path) -> None:
    spec = plugin(tmp_path, "mine")
    registry = build_registry([spec])
    file = write(tmp_path / "run.yaml", "scheduler: round-robin\nplugins: [other]\n")
    config = load_config(["scheduler.seed=3"], file=file, plugins=registry.provided([spec]))
    assert config.scheduler == {"name": "mine", "seed": 3}
    assert config.plugins == ["other", spec]
    config = load_config(["scheduler=greedy"], file=file, plugins=registry.provided([spec]))
    assert config.scheduler == {"name": "greedy"}
    assert config.plugins == ["other", spec]


def test_a_saved_configuration_needs_no_selection(tmp_path: Path) -> None:
    spec = plugin(tmp_path, "mine")
    config = load_config(["scheduler.seed=3"], plugins=build_registry([spec]).provided([spec]))
    file = write(tmp_path / "saved.yaml", to_yaml(config))
    assert load_config(file=file) == config
    assert load_config(file=file, plugins=build_registry([spec]).provided([spec])) == config


def test_two_plugins_that_claim_one_slot_are_both_named(tmp_path: Path) -> None:
    specs = [plugin(tmp_path, "mine"), plugin(tmp_path, "yours")]
    registry = build_registry(specs)
    with pytest.raises(ConfigError) as caught:
        load_config(plugins=registry.provided(specs))
    assert str(caught.value) == (
        f"'mine' of {specs[0]} and 'yours' of {specs[1]} claim the slot 'scheduler':"
        " choose with scheduler=NAME."
    )
    for override in ("scheduler=yours", "scheduler.name=yours"):
        chosen = load_config([override], plugins=registry.provided(specs))
        assert chosen.scheduler == {"name": "yours"}


def test_plugins_of_different_slots_go_together(tmp_path: Path) -> None:
    specs = [plugin(tmp_path, "mine"), plugin(tmp_path, "cut", "partitioner")]
    config = load_config(plugins=build_registry(specs).provided(specs))
    assert (config.scheduler["name"], config.partitioner["name"]) == ("mine", "cut")


def test_a_plugin_given_twice_or_installed_is_no_conflict(registry: Registry) -> None:
    for plugins in (["greedy", "greedy"], ["greedy", "pbkd_greedy"]):
        config = load_config(plugins=registry.provided(plugins))
        assert config.scheduler == {"name": "greedy"}
        assert config.plugins == list(dict.fromkeys(plugins))


def test_a_meter_is_added_to_the_others_once(tmp_path: Path, registry: Registry) -> None:
    assert load_config(plugins=registry.provided(["nvml"])).meters == ["nvml", "rapl"]
    file = write(tmp_path / "run.yaml", "meters: []\n")
    assert load_config(file=file, plugins=registry.provided(["rapl"])).meters == ["rapl"]
    spec = plugin(tmp_path, "watt", "meter")
    added = build_registry([spec])
    assert load_config(plugins=added.provided([spec])).meters == ["nvml", "rapl", "watt"]
    assert load_config(["meters=[rapl]"], plugins=added.provided([spec])).meters == ["rapl"]


def test_a_loss_takes_its_place_in_distill(registry: Registry) -> None:
    chosen = load_config(["distill.epochs=3"], plugins=registry.provided(["cosine"])).distill
    assert (chosen.loss, chosen.epochs) == ({"name": "cosine"}, 3)
    config = load_config(["distill.loss=mse"], plugins=registry.provided(["cosine"]))
    assert config.distill.loss == {"name": "mse"}
    with pytest.raises(ConfigError, match="claim the slot 'loss': choose with distill.loss=NAME"):
        load_config(plugins=registry.provided(["squared-error"]))
    config = load_config(["distill.loss=mse"], plugins=registry.provided(["squared-error"]))
    assert config.distill.loss == {"name": "mse"}


def test_a_zoo_takes_no_slot(registry: Registry) -> None:
    assert load_config(plugins=registry.provided(["zoo"])) == RunConfig(plugins=["zoo"])
    config = load_config(["teacher=vgg11"], plugins=registry.provided(["zoo"]))
    assert config.teacher == {"name": "vgg11"}


def test_a_plugin_that_is_not_there_is_a_plugin_error(registry: Registry) -> None:
    with pytest.raises(PluginError, match="there is no plugin 'gredy'.*Did you mean 'greedy'"):
        load_config(plugins=registry.provided(["gredy"]))
