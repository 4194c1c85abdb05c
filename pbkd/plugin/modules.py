"""Import of plugins that are named by their module or their `.py` file."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from typing import TYPE_CHECKING

from pbkd.core.files import user_path
from pbkd.errors import PLUGIN_FAILURES, PluginError, did_you_mean, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import ModuleType


__all__ = ["FILE_MODULE_PREFIX", "import_plugin"]

FILE_MODULE_PREFIX = "pbkd_plugin_"
"""Start of the module names of plugins loaded from `.py` files."""


def import_plugin(spec: str, known: Iterable[str]) -> ModuleType:
    """Import the module of a plugin.

    Args:
        spec: A module, or a `.py` file.
        known: Names of the installed plugins, for the message.

    Raises:
        PluginError: There is no such module or file, or its import fails.
    """
    try:
        if spec.endswith(".py"):
            return _import_file(user_path(spec))
        return importlib.import_module(spec)
    except ModuleNotFoundError as error:
        if error.name != spec.partition(".")[0]:
            raise PluginError(f"the plugin '{spec}' fails to import: {error}.") from error
        raise PluginError(
            f"there is no plugin '{spec}': give an installed plugin, an importable module or a"
            f" .py file.{did_you_mean(spec, known)}"
        ) from error
    except PLUGIN_FAILURES as error:
        raise PluginError(f"the plugin '{spec}' fails to import: {one_line(error)}") from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise PluginError(f"there is no file '{path}'.")
    # The whole path, since files of the same name in different folders are different plugins.
    name = FILE_MODULE_PREFIX + re.sub(r"\W", "_", str(path.resolve().with_suffix("")))
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise PluginError(f"'{path}' is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
