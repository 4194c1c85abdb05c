"""Typed options of strategies, data sources and models."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from contextlib import suppress
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from pbkd.config.annotations import resolve_annotation
from pbkd.config.declared import as_declared, without_paths
from pbkd.config.literal_text import escape, unescape
from pbkd.config.schema import AUTO, DEFAULT_BUILDER
from pbkd.errors import ConfigError, PluginError, did_you_mean, first_line, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_SCHEMAS: WeakKeyDictionary[Any, tuple[str, Any]] = WeakKeyDictionary()
"""By dataclass or function, `repr` of its options, and their schema."""

__all__ = [
    "MEMORY",
    "choice_options",
    "choice_text",
    "declared_options",
    "inner_choices",
    "named_builder",
    "named_choice",
    "option_types",
    "typed_options",
    "unchecked_options",
]


def named_choice(entry: Any) -> dict[str, Any]:
    """Return an entry of a list of choices, a name or a mapping, as a mapping with a `name`."""
    return entry if isinstance(entry, dict) else {"name": entry}


def named_builder(choice: dict[str, Any]) -> dict[str, Any]:
    """Return the choice of the builder: `auto` with options is the default builder."""
    return (
        {**choice, "name": DEFAULT_BUILDER}
        if choice["name"] == AUTO and len(choice) > 1
        else choice
    )


def choice_options(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a choice: all but its `name`."""
    return {key: value for key, value in choice.items() if key != "name"}


def choice_text(choice: Mapping[str, Any]) -> str:
    """Format a choice in one line, such as "separable rank=2".

    Args:
        choice: The mapping of `name` and options.

    Returns:
        The name, followed by the options in their order in `choice`.
    """
    options = (f"{key}={value}" for key, value in choice_options(choice).items())
    return " ".join([str(choice.get("name", "")), *options]).strip()


def inner_choices(
    strategy: Any, keywords: Mapping[str, Any], where: str
) -> list[tuple[str, str, dict[str, Any]]]:
    """List the options of a strategy that are strategies themselves, where they are set.

    Args:
        strategy: The strategy's class.
        keywords: The values of its options.
        where: The key of its options in the configuration, for error messages.

    Returns:
        Each option with its slot and its choice.

    Raises:
        ConfigError: A value is neither a name nor a mapping with one.
    """
    found = []
    for one in dataclasses.fields(strategy) if dataclasses.is_dataclass(strategy) else ():
        if "slot" in one.metadata and (value := keywords[one.name]) is not None:
            choice = named_choice(value)
            if not isinstance(choice.get("name"), str):
                what = f"'{where}.{one.name}' is {value!r}, but must be a name"
                raise ConfigError(f"{what}, or a mapping of a name and options.")
            found.append((one.name, one.metadata["slot"], choice))
    return found


def option_types(target: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """List the options of a dataclass or function.

    Args:
        target: The dataclass or function whose parameters are the options.

    Returns:
        By option, its type (`Any` if unknown) and its default (`MISSING` if it is required).

    Raises:
        PluginError: The options cannot be listed.
    """
    return {
        name: (resolve_annotation(target, parameter)[0], _default(target, parameter))
        for name, parameter in _parameters(target).items()
    }


def unchecked_options(target: Callable[..., Any]) -> dict[str, str]:
    """List the options whose values cannot be checked, by the reason.

    Args:
        target: The dataclass or function whose parameters are the options.
    """
    reasons = {
        name: resolve_annotation(target, parameter)[1]
        for name, parameter in _parameters(target).items()
    }
    return {name: reason for name, reason in reasons.items() if reason}


def _parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError) as error:
        raise PluginError(f"the options of {target!r} cannot be listed: {error}.") from error
    return {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def _default(target: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return the default; a dataclass makes that of a list by a factory."""
    for field in dataclasses.fields(target) if dataclasses.is_dataclass(target) else ():
        if field.name == parameter.name and field.default_factory is not dataclasses.MISSING:
            try:
                return field.default_factory()
            except Exception as error:
                text = f"the default of the option '{field.name}' fails: {one_line(error)}"
                raise PluginError(text) from error
    return MISSING if parameter.default is parameter.empty else parameter.default


def typed_options(
    target: Callable[..., Any], options: Mapping[str, Any], *, where: str
) -> dict[str, Any]:
    """Convert options to the keyword arguments of a dataclass or function.

    Args:
        target: The dataclass or function, whose annotations are the types of the options.
        options: Configured values by option.
        where: The key of the options in the configuration, for error messages.

    Returns:
        A value of the annotated type for each parameter of `target`; defaults are included.

    Raises:
        ConfigError: An option is unknown or missing, or its value has the wrong type.
        PluginError: A parameter has a type or default that a configuration cannot represent.
    """
    types = option_types(target)
    for key in options:
        if key not in types:
            raise ConfigError(f"unknown option '{where}.{key}'.{did_you_mean(str(key), types)}")
    declared = _declared(types, options)
    try:
        schema = _schema(target, types, where)
        merged = OmegaConf.merge(schema, OmegaConf.create(escape(declared)))
        values = unescape(vars(OmegaConf.to_object(merged)))
    except PluginError:
        raise
    except MissingMandatoryValue as error:
        raise ConfigError(f"'{where}.{error.full_key}' is required.") from error
    except Exception as error:
        key = getattr(error, "full_key", None) or ", ".join(options)
        reason = unescape(first_line(error))
        if "$VALUE" in reason:  # omegaconf 2.4 on elements of tuples
            reason = f"{options.get(key)!r} is not of type {types[key][0]}."
        raise ConfigError(f"'{where}.{key}': {reason}") from error
    return {name: _as_tuple(types[name][0], value) for name, value in values.items()}


def declared_options(target: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert options towards the types of a dataclass's or function's parameters.

    Args:
        target: The dataclass or function.
        options: Configured values by option; unknown options keep their values.

    Returns:
        A value for each of `options`; defaults are not included.
    """
    return _declared(option_types(target), options)


def _declared(types: Mapping[str, tuple[Any, Any]], options: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {
        name: str if kind is Any and isinstance(default, str) else kind
        for name, (kind, default) in types.items()
    }
    return {
        name: as_declared(kinds[name], value) if name in kinds else value
        for name, value in without_paths(options).items()
    }


def _schema(target: Any, types: Mapping[str, tuple[Any, Any]], where: str) -> Any:
    """Return the schema of options, which is made once per target, as long as these stay equal."""
    content = repr(types)
    with suppress(TypeError):  # a target that cannot be hashed
        known, schema = _SCHEMAS.get(target, ("", None))
        if known == content:
            return schema
        _SCHEMAS[target] = content, schema = content, _new_schema(types, where)
        return schema
    return _new_schema(types, where)


def _new_schema(types: Mapping[str, tuple[Any, Any]], where: str) -> Any:
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
    """Convert a list to a tuple if the annotation is one (omegaconf before 2.4 returns a list)."""
    is_tuple = kind is tuple or typing.get_origin(kind) is tuple
    return tuple(value) if is_tuple and isinstance(value, list) else value


MEMORY = "memory"
"""Replaces the module in the name of an object that a Python program passed in memory."""
