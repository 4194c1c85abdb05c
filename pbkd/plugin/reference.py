"""The reference of all hooks, written from the hook specifications and the protocols."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING

from pbkd import hookspecs, protocols
from pbkd.config.options import option_types
from pbkd.plugin.interfaces import docstring_markdown, interfaces_markdown
from pbkd.plugin.slots import PROTOCOLS, SLOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType

    from pbkd.plugin.registry import Plugin, Registry


__all__ = ["describe_plugin", "hooks_markdown"]

_HEAD = """\
# Hooks

Every hook and every method that pbkd calls, as `pbkd/hookspecs.py` and `pbkd/protocols` have
them: `pbkd plugins hooks` makes this page. [write-a-plugin.md](write-a-plugin.md) shows their use.
"""
# What plugins make by a constructor: a loss itself, what a meter reads.
_HANDED = {"loss": protocols.Loss, "meter": protocols.EnergyReading}


def hooks_markdown(packages: Iterable[ModuleType]) -> str:
    """Write docs/hooks.md: each hook and its protocol, then the modules that plugins may import.

    Args:
        packages: The modules of `pbkd.plugin.interfaces.PACKAGES`, imported.
    """
    parts = [_HEAD, f"{inspect.getdoc(hookspecs)}\n", f"This is contract {hookspecs.CONTRACT}.\n"]
    slots = {hook: slot for slot, hook in SLOTS.items()}
    for function in _hooks():
        parts += [f"## {function.__name__}\n", *_described(function)]
        slot = slots.get(function.__name__)
        if slot in PROTOCOLS:
            parts += _protocol(PROTOCOLS[slot])
        if slot in _HANDED:
            parts += _dataclass(_HANDED[slot])
    parts += interfaces_markdown(packages)
    return "\n".join(parts)


def _hooks() -> list[Callable[..., object]]:
    """Return the hooks in the order in which they are written down."""
    found = inspect.getmembers(hookspecs, inspect.isfunction)
    own = [hook for _, hook in found if hook.__module__ == hookspecs.__name__]
    return sorted(own, key=lambda hook: hook.__code__.co_firstlineno)


def _protocol(protocol: type) -> Iterator[str]:
    yield f"### {protocol.__name__}\n"
    yield _documentation(protocol)
    for name, member in vars(protocol).items():
        if inspect.isfunction(member) and not name.startswith("_"):
            yield from _described(member)


def _dataclass(shown: type) -> Iterator[str]:
    (declared,) = ast.parse(inspect.getsource(shown)).body
    assert isinstance(declared, ast.ClassDef)
    fields = [ast.unparse(part) for part in declared.body if isinstance(part, ast.AnnAssign)]
    yield f"### {shown.__name__}\n"
    yield f"    {shown.__name__}({', '.join(fields)})\n"
    yield _documentation(shown)


def _described(function: Callable[..., object]) -> list[str]:
    """Return the signature, as it is written in the source, and the docstring."""
    source = inspect.cleandoc("\n" + inspect.getsource(function))
    (declared,) = ast.parse(source).body
    assert isinstance(declared, ast.FunctionDef)
    assert declared.returns is not None
    arguments, returns = ast.unparse(declared.args), ast.unparse(declared.returns)
    return [
        f"    def {declared.name}({arguments}) -> {returns}\n",
        _documentation(function),
    ]


def _documentation(documented: object) -> str:
    return docstring_markdown(inspect.getdoc(documented) or "")


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
    """Return the first paragraph of a class's docstring, if it has its own, in one line."""
    if (strategy.__doc__ or "").startswith(f"{strategy.__name__}("):  # what dataclass writes
        return ""
    return _first_paragraph(strategy)


def _first_paragraph(documented: object) -> str:
    return " ".join(inspect.cleandoc(documented.__doc__ or "").partition("\n\n")[0].split())


def _options(target: Callable[..., Any], prefix: str) -> list[str]:
    lines = []
    for name, (kind, default) in option_types(target).items():
        typed = "" if kind is Any else f": {inspect.formatannotation(kind)}"
        value = ", required" if default == MISSING else f" = {default}"
        lines.append(f"  {prefix}{name}{typed}{value}")
    return lines
