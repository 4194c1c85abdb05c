"""Hooks that observe a run; an exception in one of them does not stop the run."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from pbkd.errors import PLUGIN_FAILURES, one_line

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry


__all__ = ["observe"]


def observe(registry: Registry, hook: str, result: object) -> list[str]:
    """Call an observing hook of every plugin, each with its own copy of the result.

    Args:
        registry: The plugins.
        hook: Name of the hook.
        result: The hook's argument.

    Returns:
        A sentence for each plugin that raised an exception.
    """
    manager = registry.manager
    failures = []
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        others = [p for p in manager.get_plugins() if p is not implementation.plugin]
        private = copy.deepcopy(result)
        try:
            manager.subset_hook_caller(hook, others)(result=private)
        except PLUGIN_FAILURES as error:
            reason = one_line(error).rstrip(".")
            failures.append(
                f"The plugin '{implementation.plugin_name}' failed in {hook} ({reason})."
            )
    return failures
