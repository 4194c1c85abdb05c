"""Import of plugins that are named by their module or their `.py` file."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pbkd.core.files import user_path
from pbkd.errors import PLUGIN_FAILURES, PluginError, did_you_mean, one_line
from pbkd.plugin.files import import_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType


__all__ = ["import_plugin"]


def import_plugin(spec: str, known: Iterable[str]) -> ModuleType:
    """Import the module of a plugin.

    Args:
        spec: A module, or a `.py` file.
        known: Names of the installed plugins, for the message.

    Raises:
        PluginError: There is no such module or file, or its import fails.
    """
    file = user_path(spec) if spec.endswith(".py") else None
    if file and not file.is_file():
        raise PluginError(f"there is no file '{file}'.")
    try:
        if file:
            return import_file(file)
        return importlib.import_module(spec)
    except ModuleNotFoundError as error:
        if error.name != spec.partition(".")[0]:
            raise PluginError(f"the plugin '{spec}' fails to import: {error}.") from error
        beside = user_path(f"{spec}.py").is_file()
        hint = f" Did you mean '{spec}.py'?" if beside else did_you_mean(spec, known)
        raise PluginError(
            f"there is no plugin '{spec}': give an installed plugin, an importable module or a"
            f" .py file.{hint}"
        ) from error
    except PLUGIN_FAILURES as error:
        raise PluginError(f"the plugin '{spec}' fails to import: {one_line(error)}") from error
