"""Loading of the configuration from defaults, a YAML file, plugins and overrides."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict, fields, is_dataclass, make_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf

from pbkd.config.checks import RUN_BOUNDS, check_values
from pbkd.config.declared import as_declared, without_paths
from pbkd.config.literal_text import escape, unescape
from pbkd.config.options import named_builder, named_choice
from pbkd.config.schema import CHOICES, LEFT_BY_PLUGINS, LISTS, STRATEGIES, RunConfig
from pbkd.config.yaml_files import read_yaml
from pbkd.config.yaml_values import MOST_LEVELS, dump, read_argument, structure
from pbkd.errors import ConfigError, did_you_mean, first_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    ProvidedNames = Mapping[str, Sequence[str]]
    """The names that a plugin registers, by slot."""


__all__ = ["load_config", "merge_layer", "read_overrides", "to_yaml"]

C = TypeVar("C")


def load_config(
    overrides: Sequence[str] = (),
    *,
    file: Path | Mapping[str, Any] | None = None,
    plugins: Mapping[str, ProvidedNames] = MappingProxyType({}),
    options: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Load the configuration of a run.

    Later sources override earlier ones: defaults, the file, plugins, options, overrides. A choice
    is a bare name (`scheduler=greedy`) or a mapping (`scheduler.name=greedy`).

    Args:
        overrides: `key=value` pairs, such as `distill.epochs=4`.
        file: YAML file, or what it would hold.
        plugins: By selected plugin, the names that it registers, by slot (`Registry.provided`).
            Each strategy is selected for its slot; meters and observers are added to the
            configured ones.
        options: Overrides as a mapping, nested as in a file. A top-level key that also occurs in
            `overrides` is ignored.

    Returns:
        The configuration, checked.

    Raises:
        ConfigError: A file is unreadable, a key unknown, a value of the wrong type or out of
            range, or two plugins provide a strategy for one slot and the overrides select neither.
    """
    layer = read_yaml(file) if isinstance(file, Path) else file
    config = _layered(RunConfig(), layer) if layer else RunConfig()
    user_layer = {**_expand_choices(options or {}), **read_overrides(overrides)}
    if plugins:
        config = _layered(config, _plugin_layer(plugins, user_layer, config))
    if user_layer:
        config = _layered(config, user_layer)
    config.plugins = list(dict.fromkeys([*config.plugins, *plugins]))
    check_values(config, RUN_BOUNDS)
    return config


def _layered(config: RunConfig, layer: Mapping[str, Any]) -> RunConfig:
    config = merge_layer(config, layer)
    config.builder = named_builder(config.builder)
    return config


def to_yaml(config: object) -> str:
    """Serialise a configuration as YAML.

    Args:
        config: A configuration dataclass.

    Returns:
        The YAML text of all keys; for a `RunConfig`, `load_config(file=...)` reads it back.
    """
    return dump(asdict(cast("Any", config)))


def read_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Parse `key=value` pairs into one nested mapping.

    Args:
        overrides: The pairs, such as `distill.epochs=4`; later ones override earlier ones.

    Returns:
        The mapping, with choices expanded: `scheduler=greedy` is `{"scheduler": {"name": ...}}`.
        Values are as `read_argument` gives them: text, until the type of their option is known.

    Raises:
        ConfigError: A pair has no key or no `=`.
    """
    tree: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"'{override}' is not an override: write key=value.")
        value = read_argument(text)
        parts = key.split(".")
        if len(parts) > MOST_LEVELS:
            raise ConfigError(f"'{key}' has more than {MOST_LEVELS} parts: it is no key.")
        _merge_trees(tree, _expand_choices(_nested(key, value)))
    return tree


def _nested(key: str, value: Any) -> dict[str, Any]:
    """Nest a value under a dotted key."""
    *sections, last = key.split(".")
    tree = {last: value}
    for section in reversed(sections):
        tree = {section: tree}
    return tree


def _below(tree: Mapping[str, Any], key: str) -> Any:
    """Return the value or subtree at a dotted key; an empty mapping if there is none."""
    below: Any = tree
    for part in key.split("."):
        below = below.get(part, {}) if isinstance(below, dict) else {}
    return below


def _merge_trees(tree: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Merge a nested mapping into `tree`, in place."""
    for key, value in other.items():
        old, new = structure(tree.get(key)), structure(value)
        if isinstance(old, dict) and isinstance(new, dict):
            tree[key] = old
            _merge_trees(old, new)
        else:
            tree[key] = value


def _expand_choices(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Replace the bare names among the choices by mappings with a `name`, which is text."""
    expanded = {}
    for key, value in tree.items():
        where = f"{path}{key}"
        section = structure(value) if any(c.startswith(f"{where}.") for c in CHOICES) else None
        if isinstance(section, dict):
            expanded[key] = _expand_choices(section, f"{where}.")
        else:
            expanded[key] = _choice(value) if where in CHOICES else value
    return expanded


def _choice(value: Any) -> dict[str, Any]:
    options = structure(value)
    choice = options if isinstance(options, dict) else {"name": value}
    names = {"name": as_declared(str, choice["name"])} if "name" in choice else {}
    return {**choice, **names}


def _plugin_layer(
    plugins: Mapping[str, ProvidedNames], user_layer: Mapping[str, Any], config: RunConfig
) -> dict[str, Any]:
    """Make the layer that selects the strategies of `plugins` that `user_layer` leaves open."""

    def candidates(slot: str) -> dict[str, str]:
        return {name: spec for spec, by_slot in plugins.items() for name in by_slot.get(slot, ())}

    layer: dict[str, Any] = {
        key: _extended(getattr(config, key), candidates(slot))
        for key, slot in LISTS.items()
        if key not in LEFT_BY_PLUGINS
    }
    for slot in dict.fromkeys(STRATEGIES.values()):
        keys = [key for key, of in STRATEGIES.items() if of == slot and key not in LEFT_BY_PLUGINS]
        still_open = [key for key in keys if "name" not in _below(user_layer, key)]
        if still_open and candidates(slot):
            name = _single_candidate(slot, still_open, candidates(slot))
            for key in still_open:
                _merge_trees(layer, _nested(key, {"name": name}))
    return layer


def _extended(choices: Sequence[Any], names: Iterable[str]) -> list[Any]:
    """Append the names that no choice has."""
    known = [named_choice(one).get("name") for one in choices]
    return [*choices, *(name for name in names if name not in known)]


def _single_candidate(slot: str, keys: Sequence[str], candidates: Mapping[str, str]) -> str:
    """Return the only candidate for a slot; `candidates` maps names to their plugins."""
    if len(candidates) > 1:
        claims = " and ".join(f"'{name}' of {plugin}" for name, plugin in candidates.items())
        choice = " ".join(f"{key}=NAME" for key in keys)
        raise ConfigError(f"{claims} claim the slot '{slot}': choose with {choice}.")
    return next(iter(candidates))


def merge_layer(config: C, layer: Mapping[str, Any]) -> C:
    """Override values of a configuration.

    Args:
        config: A configuration dataclass; it is not changed.
        layer: New values by key, nested for sections. A choice with another name than the
            configured one replaces it with all its options.

    Returns:
        A new configuration of the same type.

    Raises:
        ConfigError: A key is unknown, or a value has the wrong type.
    """
    expanded = _declared(config, _expand_choices(without_paths(layer)))
    changed = _changes(config, expanded)
    current = OmegaConf.structured(escape(_fields(config, changed)))
    for key in CHOICES:
        name = _below(changed, key).get("name")
        if name is not None and escape(name) != OmegaConf.select(current, key).get("name"):
            OmegaConf.update(current, key, {}, merge=False)  # drop the previous strategy's options
    try:
        layered = OmegaConf.unsafe_merge(current, OmegaConf.create(escape(changed)))
        result = OmegaConf.to_object(layered)
        if any(isinstance(value, list) for value in changed.values()):
            OmegaConf.structured(result)  # merge accepts mappings in lists of text
        return _replaced(deepcopy(config), unescape(result))
    except Exception as error:
        where = getattr(error, "full_key", None) or ", ".join(expanded)
        raise ConfigError(f"'{where}': {unescape(first_line(error))}") from error


def _changes(config: Any, layer: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a layer what a dataclass has already: the rest is all that must be checked."""
    changes = {}
    for key, value in layer.items():
        current = getattr(config, key)
        if is_dataclass(current):
            if section := _changes(current, value):
                changes[key] = section
        elif repr(value) != repr(current):  # 1 is not True here
            changes[key] = value
    return changes


def _fields(config: Any, keys: Mapping[str, Any]) -> Any:
    """Make a dataclass of some fields of another; `keys` has mappings for sections."""
    kinds, values = get_type_hints(type(config)), {}
    for key in keys:
        value = getattr(config, key)
        values[key] = _fields(value, keys[key]) if is_dataclass(value) else value
    types = [
        (key, type(value) if is_dataclass(value) else kinds[key]) for key, value in values.items()
    ]
    return make_dataclass(type(config).__name__, types)(**values)


def _replaced(config: C, part: Any) -> C:
    """Replace the fields of a dataclass that another has."""
    changes = {}
    for field in fields(part):
        value, current = getattr(part, field.name), getattr(config, field.name)
        changes[field.name] = _replaced(current, value) if is_dataclass(current) else value
    return cast("C", replace(cast("Any", config), **changes))


def _declared(config: Any, tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Check the keys of a layer, and convert its values towards the types of a dataclass."""
    known, kinds = [field.name for field in fields(config)], get_type_hints(type(config))
    converted = {}
    for key, value in tree.items():
        where = f"{path}{key}"
        if key not in known:
            raise ConfigError(f"unknown key '{where}'.{did_you_mean(str(key), known)}")
        converted[key] = _as_field(getattr(config, key), kinds[key], value, where)
    return converted


def _as_field(current: Any, kind: Any, value: Any, where: str) -> Any:
    """Convert a value towards the type of a field; that of a strategy's options comes later."""
    if is_dataclass(current):
        value = structure(value)
        if not isinstance(value, dict):
            first = fields(current)[0].name
            raise ConfigError(f"'{where}' is a group: set its keys, such as {where}.{first}.")
        return _declared(current, value, f"{where}.")
    if isinstance(current, list) or any(get_origin(arm) is list for arm in get_args(kind)):
        value = structure(value)
        if not isinstance(value, list) and (value is not None or isinstance(current, list)):
            raise ConfigError(f"'{where}' is a list: write {where}=[a, b].")
    is_open = kind == list[Any] or get_origin(kind) is dict
    return value if is_open else as_declared(kind, value)
