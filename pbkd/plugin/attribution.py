"""Whose fault it is: a strategy that fails is named with the plugin that it came from."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path

from pbkd.errors import one_line
from pbkd.plugin.modules import FILE_MODULE_PREFIX

__all__ = ["failure_of", "named", "plugin_of"]


def failure_of(slot: str, strategy: object, where: str, error: BaseException) -> str:
    """Return "the scheduler 'mine' of the plugin 'mine' (dist 2.1) fails in schedule (…)"."""
    return f"{named(slot, strategy)} fails in {where} ({one_line(error).rstrip('.')})"


def named(slot: str, strategy: object) -> str:
    """Return "the scheduler 'mine' of the plugin 'mine' (dist 2.1)"."""
    name = getattr(strategy, "name", _class_of(strategy).__name__)
    return f"the {slot} '{name}' of {plugin_of(strategy)}"


def plugin_of(strategy: object) -> str:
    """Return "the plugin 'mine' (dist 2.1)"; one that is not installed is its module or its file.

    The plugin is the one whose module, or a module within it, defines the strategy's class.
    """
    module = _class_of(strategy).__module__
    for point in entry_points(group="pbkd"):
        if f"{module}.".startswith(f"{point.module}."):
            made = f" ({point.dist.name} {point.dist.version})" if point.dist else ""
            return f"the plugin '{point.name}'{made}"
    if module.startswith(FILE_MODULE_PREFIX):
        return f"the plugin '{Path(str(sys.modules[module].__file__)).name}'"
    return f"the plugin '{module}'"


def _class_of(strategy: object) -> type:
    return strategy if isinstance(strategy, type) else type(strategy)
