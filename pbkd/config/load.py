"""Loading of the configuration from defaults, a YAML file, plugins and `key=value` pairs."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import yaml
from omegaconf import OmegaConf

from pbkd.config.schema import ABOVE_ZERO, CHOICES, STRATEGIES, RunConfig, check_values
from pbkd.errors import ConfigError, did_you_mean, first_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pbkd.config.schema import C

    Provided = Mapping[str, Sequence[str]]


__all__ = ["load_config", "merge_layer", "read_overrides", "read_yaml", "to_yaml", "yaml_text"]

_MAX_BYTES = 2**20
_MAX_REFERENCES = 16
_BOUNDS = {
    "workers": (1, 1024),
    "threads": (1, 1024),
    "batch_size": (2, 2**20),  # BatchNorm needs two
    "max_drop": (0, 1),
    "views": (0, math.inf),
    "cache_gigabytes": (0, math.inf),
    "recalibrate_batches": (0, math.inf),
    "distill.epochs": (1, math.inf),
    "distill.student_fed_epochs": (0, math.inf),
    "distill.lr": (ABOVE_ZERO, math.inf),
    "distill.weight_decay": (0, math.inf),
    "finetune.epochs": (0, math.inf),
    "finetune.lr": (ABOVE_ZERO, math.inf),
    "finetune.weight_decay": (0, math.inf),
    "finetune.temperature": (ABOVE_ZERO, math.inf),
    "finetune.soft_weight": (0, 1),
    "budget.macs": (ABOVE_ZERO, 1),
    "budget.parameters": (ABOVE_ZERO, 1),
    "budget.latency_ms": (ABOVE_ZERO, math.inf),
}


def load_config(
    overrides: Sequence[str] = (),
    *,
    file: Path | None = None,
    plugins: Mapping[str, Provided] = MappingProxyType({}),
    options: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Return the configuration: defaults, then the file, then plugins' strategies, then overrides.

    `options` are a tree of overrides, as a file has them.

    A choice may be given as a bare name (`scheduler=greedy`) or by its parts (`scheduler.name`).
    `plugins` has, for each plugin that is selected, the names that it registers, by slot, as
    `Registry.provided` gives them: each strategy takes its slot, each meter is added. Raises
    `ConfigError` for anything that is unknown, ill-typed or out of range.
    """
    config = merge_layer(RunConfig(), read_yaml(file) if file else {})
    given = {**_expanded(options or {}), **read_overrides(overrides)}
    if plugins:
        config = merge_layer(config, _selected(plugins, given, config.meters))
    config = merge_layer(config, given)
    config.plugins = list(dict.fromkeys([*config.plugins, *plugins]))
    check_values(config, _BOUNDS)
    return config


def to_yaml(config: object) -> str:
    """Return the whole configuration as YAML; `load_config(file=...)` reads it back."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a YAML mapping; raises `ConfigError`."""
    try:
        loaded = OmegaConf.to_container(OmegaConf.create(yaml_text(file)), resolve=True)
    except ConfigError:
        raise
    except FileNotFoundError as error:
        raise ConfigError(f"there is no configuration file '{file}'.") from error
    except Exception as error:
        raise ConfigError(f"'{file}' is not a YAML configuration: {first_line(error)}") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"'{file}' must hold a mapping of keys to values.")
    return cast("dict[str, Any]", loaded)


def yaml_text(file: Path) -> str:
    """Read a YAML file, and reject aliases and references that could expand without bounds."""
    with file.open("rb") as stream:
        content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"'{file}' is larger than {_MAX_BYTES:,} bytes.")
    text = content.decode()
    if text.count("${") > _MAX_REFERENCES:
        raise ConfigError(f"'{file}' has more than {_MAX_REFERENCES} references '${{'.")
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
        raise ConfigError(f"'{file}' has YAML aliases (*name): write the values out.")
    return text


def read_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Read `key=value` pairs into one tree; raises `ConfigError`."""
    tree: dict[str, Any] = {}
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"'{override}' is not an override: write key=value.")
        try:
            parsed = OmegaConf.to_container(OmegaConf.from_dotlist([override]))
        except Exception as error:
            raise ConfigError(f"'{override}' cannot be read: {first_line(error)}") from error
        _graft(tree, _expanded(cast("dict[str, Any]", parsed)))
    return tree


def _graft(tree: dict[str, Any], branch: Mapping[str, Any]) -> None:
    for key, value in branch.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _graft(tree[key], value)
        else:
            tree[key] = value


def _expanded(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Write a choice given as a bare name as a mapping."""
    return {
        key: {"name": value} if key in CHOICES and not isinstance(value, dict) else value
        for key, value in tree.items()
    }


def _selected(
    plugins: Mapping[str, Provided], given: Mapping[str, Any], meters: Sequence[Any]
) -> dict[str, Any]:
    """Return the layer in which the strategies of `plugins` take their slots."""

    def takers(slot: str) -> dict[str, str]:
        return {name: spec for spec, by_slot in plugins.items() for name in by_slot.get(slot, ())}

    layer: dict[str, Any] = {
        "meters": [*meters, *(name for name in takers("meter") if name not in meters)]
    }
    for slot in STRATEGIES:
        if "name" not in given.get(slot, {}) and takers(slot):
            layer[slot] = {"name": _only_one(slot, slot, takers(slot))}
    if "loss" not in given.get("distill", {}) and takers("loss"):
        layer["distill"] = {"loss": _only_one("loss", "distill.loss", takers("loss"))}
    return layer


def _only_one(slot: str, key: str, takers: Mapping[str, str]) -> str:
    """Return the one name that is to take a slot; `takers` has each name's plugin."""
    if len(takers) > 1:
        claims = " and ".join(f"'{name}' of {plugin}" for name, plugin in takers.items())
        raise ConfigError(f"{claims} claim the slot '{slot}': choose with {key}=NAME.")
    return next(iter(takers))


def merge_layer(config: C, layer: Mapping[str, Any]) -> C:
    """Return a configuration (a dataclass) with a layer of values put over it.

    Raises `ConfigError` for a key it does not have or a value of the wrong type.
    """
    expanded = _expanded(layer)
    _check_keys(config, expanded)
    base = OmegaConf.structured(config)
    for key in CHOICES:
        name = expanded[key].get("name") if key in expanded else None
        if name is not None and name != base[key].get("name"):
            base[key] = {}  # another strategy does not inherit this one's options
    try:
        merged = OmegaConf.merge(base, OmegaConf.create(expanded))
        result = cast("C", OmegaConf.to_object(merged))
        OmegaConf.structured(result)  # a merge lets a mapping through where a list is of texts
        return result
    except Exception as error:
        where = getattr(error, "full_key", None) or ", ".join(expanded)
        raise ConfigError(f"'{where}': {first_line(error)}") from error


def _check_keys(config: Any, tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> None:
    known = [f.name for f in fields(config)]
    for key, value in tree.items():
        where = ".".join((*path, str(key)))
        if key not in known:
            raise ConfigError(f"unknown key '{where}'.{did_you_mean(str(key), known)}")
        current = getattr(config, key)
        if isinstance(current, list) and not isinstance(value, list):
            raise ConfigError(f"'{where}' is a list: write {where}=[a, b].")
        if is_dataclass(current):
            if not isinstance(value, dict):
                first = fields(current)[0].name
                raise ConfigError(f"'{where}' is a group: set its keys, such as {where}.{first}.")
            _check_keys(current, value, (*path, str(key)))
