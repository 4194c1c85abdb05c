"""What a plugin provides, for people to read: its strategies, their options, its observers."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING

from pbkd.options import option_types
from pbkd.registry import SLOTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbkd.registry import Plugin, Registry

__all__ = ["describe_plugin"]


def describe_plugin(registry: Registry, plugin: Plugin) -> str:
    """Return a few lines: origin, version, contract, then all that the plugin registers."""
    module = registry.module_of(plugin)
    lines = [
        f"plugin: {plugin.name}",
        f"version: {plugin.version or 'none, it is not installed'}",
        f"from: {plugin.origin}",
        f"contract: {getattr(module, 'PBKD_CONTRACT', 'not stated')}",
    ]
    for slot, names in plugin.provides.items():
        for name in names:
            lines += _strategy(slot, registry.strategies[slot][name])
    callers = registry.manager.get_hookcallers(module) or []
    observed = sorted({caller.name for caller in callers} - set(SLOTS.values()))
    return "\n".join([*lines, *([f"observes: {', '.join(observed)}"] if observed else [])])


def _strategy(slot: str, strategy: Any) -> list[str]:
    """Return what a strategy or a model is, in one line, then a line for each of its options."""
    if slot == "loss":
        return [f"loss {strategy.name}: {_first_paragraph(strategy.error)}"]
    if slot == "model":
        summary, target, prefix = strategy.summary, strategy.build, "teacher."
    else:  # a meter is one of a list, so its options have no key of their own
        summary, target = _summary(strategy), strategy
        prefix = "" if slot == "meter" else f"{slot}."
    head = f"{slot} {strategy.name}"
    return [f"{head}: {summary}" if summary else head, *_options(target, prefix)]


def _summary(strategy: type) -> str:
    """Return the first paragraph of a class's docstring, if it has one of its own, in one line."""
    if (strategy.__doc__ or "").startswith(f"{strategy.__name__}("):  # what dataclass writes
        return ""
    return _first_paragraph(strategy)


def _first_paragraph(documented: object) -> str:
    return " ".join(inspect.cleandoc(documented.__doc__ or "").partition("\n\n")[0].split())


def _options(target: Callable[..., Any], prefix: str) -> list[str]:
    lines = []
    for name, (kind, default) in option_types(target).items():
        typed = "" if kind is Any else f": {inspect.formatannotation(kind)}"
        value = ", must be given" if default == MISSING else f" = {default}"
        lines.append(f"  {prefix}{name}{typed}{value}")
    return lines
