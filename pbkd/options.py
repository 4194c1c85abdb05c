"""The options of a strategy, a data source or a model: its own typed fields, checked."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from pbkd.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pbkd.registry import Registry

__all__ = ["chosen", "option_types", "typed_options"]


def chosen(registry: Registry, slot: str, choice: Mapping[str, Any]) -> Any:
    """Return the strategy that `choice` (its `name` and its options) asks for."""
    strategy = registry.find(slot, choice["name"])
    given = {key: value for key, value in choice.items() if key != "name"}
    return strategy(**typed_options(strategy, given, where=slot))


def option_types(target: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Return each option of a dataclass or function: its type and default (`MISSING` if none)."""
    try:
        hints = typing.get_type_hints(target)
    except NameError:
        hints = {}
    return {
        name: (hints.get(name, Any), MISSING if p.default is p.empty else p.default)
        for name, p in inspect.signature(target).parameters.items()
    }


def typed_options(
    target: Callable[..., Any], given: Mapping[str, Any], *, where: str
) -> dict[str, Any]:
    """Return the keyword arguments for `target`, typed as its signature says.

    Raises `ConfigError`, naming `where` and the option, for an unknown, ill-typed or missing one.
    """
    types = option_types(target)
    for key in given:
        if key not in types:
            raise ConfigError(f"unknown option '{where}.{key}'.{did_you_mean(key, types)}")
    fields = [(name, kind, dataclasses.field()) for name, (kind, _) in types.items()]
    schema = OmegaConf.structured(dataclasses.make_dataclass("Options", fields))
    for name, (_, default) in types.items():
        schema[name] = default
    try:
        merged = OmegaConf.merge(schema, OmegaConf.create(dict(given)))
        return dict(OmegaConf.to_container(merged, throw_on_missing=True))  # type: ignore[arg-type]
    except MissingMandatoryValue as error:
        raise ConfigError(f"'{where}.{error.full_key}' must be given.") from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"'{where}.{error.full_key}': {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """Return the first line of an omegaconf error; the rest repeats the key."""
    return str(error).splitlines()[0].rstrip(".") + "."
