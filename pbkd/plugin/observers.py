"""Plugins that observe a run: whatever they raise, the run goes on."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from pbkd.errors import PLUGIN_FAILURES, one_line

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry


__all__ = ["observe"]


def observe(registry: Registry, hook: str, result: object) -> list[str]:
    """Call a hook of every plugin that has it; return a line for each one that raised.

    Each gets a copy of the result, so that whatever it does to it changes nothing.
    """
    manager = registry.manager
    told = []
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        others = [p for p in manager.get_plugins() if p is not implementation.plugin]
        own = copy.deepcopy(result)
        try:
            manager.subset_hook_caller(hook, others)(result=own)
        except PLUGIN_FAILURES as error:
            reason = one_line(error).rstrip(".")
            told.append(f"The plugin '{implementation.plugin_name}' fails in {hook} ({reason}).")
    return told
