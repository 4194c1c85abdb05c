"""Loading of the data that a configuration names: a registered source, or a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbkd.config.options import choice_options, declared_options, typed_options
from pbkd.data.returned_data import adopt_data
from pbkd.errors import PLUGIN_FAILURES, DataError, PbkdError, one_line
from pbkd.plugin.attribution import describe_strategy
from pbkd.plugin.user_code import check_function_trusted, is_user_function
from pbkd.plugin.user_module import import_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pbkd.data.datasets import Dataset
    from pbkd.plugin.registry import Registry


__all__ = ["declared_data", "load_data"]


def load_data(choice: Mapping[str, Any], registry: Registry) -> Dataset:
    """Load a data set.

    Args:
        choice: The source's `name`, or `module:function`, and its options, such as
            `{"name": "npz", "path": FILE}`.
        registry: Where sources are registered.

    Raises:
        UnknownNameError: There is no such source, module or function.
        ConfigError: It has no such option.
        TrustError: The function is not one of `registry.functions`.
        DataError: The data set is missing or invalid, or the source fails.
    """
    name, options = choice["name"], choice_options(choice)
    if is_user_function(registry, name, "data"):
        found, origin = _find_function(registry, name), f"data={name}"
        if callable(found):
            keywords = typed_options(found, options, where="data")
            returned = _call(origin, lambda: found(**keywords))
        else:  # the data itself, not what loads it
            typed_options(_no_options, options, where="data")
            returned = found
    else:
        source = registry.create("data", choice)
        origin = describe_strategy("data", source)
        returned = _call(f"{origin} in load", source.load)
    return adopt_data(returned, name, origin)


def declared_data(registry: Registry, choice: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the options of a `data` choice towards their declared types.

    Raises:
        UnknownNameError: There is no such module or function.
        TrustError: The function is not one of `registry.functions`.
        DataError: Importing its module fails.
    """
    name, options = choice["name"], choice_options(choice)
    if is_user_function(registry, name, "data"):
        target = _find_function(registry, name)
    else:
        target = registry.strategies["data"].get(name)
    declared = declared_options(target, options) if callable(target) else options
    return {"name": name, **declared}


def _no_options() -> None:
    """Stand in for the function, where a module holds the data itself."""


def _find_function(registry: Registry, name: str) -> Any:
    check_function_trusted(registry, name, "data")
    return import_named(name, "data source", registry.strategies["data"], DataError)


def _call(origin: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except PbkdError:
        raise
    except PLUGIN_FAILURES as error:
        raise DataError(f"{origin} failed ({one_line(error)}).") from error
