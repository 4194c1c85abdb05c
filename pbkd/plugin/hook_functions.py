"""The functions of a plugin that are marked as hooks, checked before pluggy registers them."""

from __future__ import annotations

import difflib
import inspect
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from pbkd.errors import PluginError
from pbkd.plugin.slots import SLOTS, contracts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


__all__ = ["HookManager", "check_hooks"]

_PREFIX = "register_"
_NEAR = 0.75
"""Similarity, from 0 to 1, from which on a name is a known one with a mistake."""
_FORMER = {
    "block_finished": "register a class with a method block_finished in register_observers",
    "run_finished": "register a class with a method run_finished in register_observers",
}
"""Hooks of earlier contracts, and what to do instead."""


class HookManager(pluggy.PluginManager):
    """Pluggy's manager, which passes at once over what is no function in a module."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        """Return the options of a hook; None if the name is not one's."""
        if isinstance(plugin, ModuleType):
            value = vars(plugin).get(name)
            if isinstance(value, type) or not callable(value):
                return None
        return super().parse_hookimpl_opts(plugin, name)


def check_hooks(manager: pluggy.PluginManager, module: object) -> list[str]:
    """Check the names and the arguments of a plugin's hooks.

    Args:
        manager: The manager, which knows the hooks.
        module: The plugin's module, or any object with hooks.

    Returns:
        A sentence about each hook that pbkd does not call.

    Raises:
        PluginError: A hook is misspelt, or cannot be called; or no hook is known.
    """
    known = {name: tuple(caller.spec.argnames) for name, caller in _specified(manager)}
    hooks = list(_marked(manager, module))
    if not hooks:
        raise PluginError(f"it has no function marked @pbkd.hookimpl{_unmarked_hint(module)}.")
    notes = []
    for hook, function, options in hooks:
        if hook in known:
            _check_function(hook, function, options, known[hook])
        else:
            notes.append(_skipped(hook, known, contracts_of(module)))
    if len(notes) == len(hooks):
        raise PluginError(f"{notes[0][:-1]}, and it has no other. Known: {', '.join(known)}.")
    unmarked = set(_unmarked(module)) - {hook for hook, _, _ in hooks}
    return notes + [f"its {hook} is not marked @pbkd.hookimpl." for hook in sorted(unmarked)]


def _specified(manager: pluggy.PluginManager) -> Iterator[tuple[str, Any]]:
    for name, caller in vars(manager.hook).items():
        if getattr(caller, "spec", None) is not None:
            yield name, caller


def _marked(
    manager: pluggy.PluginManager, module: object
) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield each marked function: the hook that it implements, and the marker's options."""
    for name in dir(module):
        options: Any = manager.parse_hookimpl_opts(module, name)
        if options is not None:
            yield options.get("specname") or name, getattr(module, name), options


def _check_function(
    hook: str, function: Any, options: dict[str, Any], arguments: Sequence[str]
) -> None:
    if options.get("wrapper") or options.get("hookwrapper"):
        raise PluginError(f"its {hook} is a wrapper of other hooks: mark it with @pbkd.hookimpl.")
    for parameter in inspect.signature(function).parameters.values():
        is_open = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if is_open or parameter.default is not parameter.empty or parameter.name in arguments:
            continue
        takes = f"the arguments {', '.join(arguments)}" if arguments else "no arguments"
        raise PluginError(
            f"its {hook} requires '{parameter.name}', but the hook has {takes}: remove it."
        )


def _skipped(hook: str, known: Iterable[str], contracts: Sequence[int] | None) -> str:
    """Say that a hook is skipped, since it may be of another pbkd; a misspelt one is an error."""
    from pbkd.hookspecs import CONTRACT

    older, newer = (any(sign * n > sign * CONTRACT for n in contracts or ()) for sign in (-1, 1))
    if hook in _FORMER and not older:
        raise PluginError(f"the hook '{hook}' is gone: {_FORMER[hook]}.")
    near = _nearest(hook, known)
    if near and not newer and hook not in _FORMER:
        raise PluginError(f"unknown hook '{hook}'. Did you mean '{near}'?")
    return f"its hook {hook} is skipped, since this version of pbkd has no such hook."


def _nearest(hook: str, known: Iterable[str]) -> str | None:
    """Return the known hook that was probably meant; the prefix that most share counts nothing."""
    names = {name.removeprefix(_PREFIX): name for name in known}
    wanted = hook.lower().removeprefix(_PREFIX)
    for name in sorted(names, key=len, reverse=True):
        if min(len(wanted), len(name)) > 3 and (name in wanted or wanted in name):
            return names[name]
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=_NEAR)
    return names[close[0]] if close else None


def _unmarked(module: object) -> Iterator[str]:
    """Yield the functions of a module that have the names of hooks and are not marked."""
    for name in SLOTS.values():
        function = getattr(module, name, None)
        if inspect.isfunction(function) and not hasattr(function, "pbkd_impl"):
            yield name


def _unmarked_hint(module: object) -> str:
    names = ", ".join(_unmarked(module))
    return f": mark {names}" if names else ""
