"""The options of a strategy, a data source or a model: its own typed fields, checked."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from pbkd.errors import ConfigError, PluginError, did_you_mean, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


__all__ = ["MEMORY", "choice_text", "option_types", "typed_options"]


def choice_text(choice: Mapping[str, Any]) -> str:
    """Write a choice in one line: its name, then its options as they are given."""
    options = (f"{key}={value}" for key, value in choice.items() if key != "name")
    return " ".join([str(choice.get("name", "")), *options]).strip()


def option_types(target: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Return each option of a dataclass or function: its type and default (`MISSING` if none)."""
    try:
        hints = typing.get_type_hints(target)
    except Exception:  # an annotation that exists for type checkers only
        hints = {}
    defaults = {
        name: MISSING if parameter.default is parameter.empty else parameter.default
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    for field in dataclasses.fields(target) if dataclasses.is_dataclass(target) else ():
        if field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory()
    return {name: (hints.get(name, Any), default) for name, default in defaults.items()}


def typed_options(
    target: Callable[..., Any], given: Mapping[str, Any], *, where: str
) -> dict[str, Any]:
    """Return the keyword arguments for `target`, typed as its signature says.

    Raises `ConfigError`, naming `where` and the option, for an unknown, ill-typed or missing one,
    and `PluginError` for an option whose type or default no configuration can hold.
    """
    types = option_types(target)
    for key in given:
        if key not in types:
            raise ConfigError(f"unknown option '{where}.{key}'.{did_you_mean(str(key), types)}")
    try:
        merged = OmegaConf.merge(_schema(types, where), OmegaConf.create(dict(given)))
        values = vars(OmegaConf.to_object(merged))
    except PluginError:
        raise
    except MissingMandatoryValue as error:
        raise ConfigError(f"'{where}.{error.full_key}' must be given.") from error
    except Exception as error:
        key = getattr(error, "full_key", None) or ", ".join(given)
        raise ConfigError(f"'{where}.{key}': {first_line(error)}") from error
    return {name: _as_tuple(types[name][0], value) for name, value in values.items()}


def _schema(types: Mapping[str, tuple[Any, Any]], where: str) -> Any:
    fields = [
        (name, kind, dataclasses.field(default_factory=partial(copy, default)))
        for name, (kind, default) in types.items()
    ]
    try:
        return OmegaConf.structured(dataclasses.make_dataclass("Options", fields))
    except Exception as error:
        option = f"'{where}.{getattr(error, 'full_key', None)}'"
        raise PluginError(
            f"the option {option} has a type or default that cannot be configured:"
            f" {first_line(error)}"
        ) from error


def _as_tuple(kind: Any, value: Any) -> Any:
    """Give a tuple where one is asked for: omegaconf before 2.4 gives a list."""
    wants_tuple = kind is tuple or typing.get_origin(kind) is tuple
    return tuple(value) if wants_tuple and isinstance(value, list) else value


MEMORY = "memory"
"""Stands for a module in the name of what a Python program had in memory."""
