"""What the hooks of one plugin register."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pbkd.errors import PluginError
from pbkd.plugin.slots import SLOTS, find_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pluggy


__all__ = ["registered_strategies"]


def registered_strategies(
    manager: pluggy.PluginManager,
    owners: Mapping[tuple[str, str], str],
    plugin: str,
    module: object,
) -> dict[str, dict[str, Any]]:
    """Call the hooks of a plugin, and check what they register.

    Args:
        manager: Has registered the plugin.
        owners: Name of the plugin that has registered a (slot, name) already.
        plugin: Name of the plugin.
        module: Its module, or any object with hooks.

    Returns:
        The strategies and models, by slot and name.

    Raises:
        PluginError: Something registered breaks its protocol, or has a name that is taken.
        Exception: A hook raises it.
    """
    found: dict[str, dict[str, Any]] = {slot: {} for slot in SLOTS}
    for slot, hook in SLOTS.items():
        for strategy in _registered(manager, hook, module):
            if fault := find_fault(slot, strategy):
                raise PluginError(f"{hook} registers {_described(strategy)}, which {fault}.")
            key = strategy.name
            if key in found[slot] or (slot, key) in owners:
                owner = owners.get((slot, key), plugin)
                raise PluginError(
                    f"it registers the {slot} '{key}', a name already taken by '{owner}':"
                    " choose another."
                )
            found[slot][key] = strategy
    return found


def _registered(manager: pluggy.PluginManager, hook: str, module: object) -> Iterable[Any]:
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        if implementation.plugin is module:
            registered = implementation.function()
            if not isinstance(registered, Iterable):
                raise PluginError(f"{hook} registers {_described(registered)}, not a list.")
            yield from registered


def _described(registered: object) -> str:
    """Describe an object without its address, and a class without its module."""
    if isinstance(registered, type) or inspect.isroutine(registered):
        return str(getattr(registered, "__name__", registered))
    return "None" if registered is None else f"an instance of {type(registered).__name__}"
