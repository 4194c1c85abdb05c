"""The reference of all hooks, written from the hook specifications and the protocols."""

from __future__ import annotations

import ast
import inspect
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING

from pbkd import hookspecs, protocols
from pbkd.config.options import option_types, unchecked_options
from pbkd.config.schema import STRATEGIES
from pbkd.plugin.contract import called_functions, contract_markdown
from pbkd.plugin.interfaces import (
    definition_markdown,
    docstring_markdown,
    interfaces_markdown,
)
from pbkd.plugin.received import received_markdown
from pbkd.plugin.slots import PROTOCOLS, SLOTS, contracts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType

    from pbkd.plugin.registry import Plugin, Registry


__all__ = ["describe_plugin", "hooks_markdown", "unchecked_by_strategy"]

_HEAD = """\
# Hooks

Every hook and every method that pbkd calls, as `pbkd/hookspecs.py` and `pbkd/protocols` have
them: `pbkd plugins hooks` makes this page. [write-a-plugin.md](write-a-plugin.md) shows their use.
"""


def hooks_markdown(packages: Iterable[ModuleType]) -> str:
    """Write docs/hooks.md: the contract, each hook with its protocol, then what may be imported.

    Args:
        packages: The modules of `pbkd.plugin.interfaces.PACKAGES`, imported.
    """
    packages = list(packages)
    functions = dict(called_functions())
    signatures = {name: _arguments_and_result(one) for name, one in functions.items()}
    parts = [_HEAD, f"{inspect.getdoc(hookspecs)}\n", f"This is contract {hookspecs.CONTRACT}.\n"]
    parts += ["## The contract\n", contract_markdown(signatures)]
    slots = {hook: slot for slot, hook in SLOTS.items()}
    for name, function in functions.items():
        if "." not in name:
            parts += [f"## {name}\n", *_described(function)]
            parts += _registered(slots[name], function)
    parts += interfaces_markdown(packages)
    parts += received_markdown(packages)
    return "\n".join(parts)


def _registered(slot: str, hook: Callable[..., object]) -> Iterator[str]:
    """Describe the protocol of what a hook registers, and the other types of its module."""
    if slot in PROTOCOLS:
        yield from _protocol(PROTOCOLS[slot])
    home = _module_of_result(hook)
    for name in home.__all__:
        if (other := getattr(home, name)) not in PROTOCOLS.values():
            yield f"### {name}\n"
            if isinstance(other, type):
                yield from _dataclass(other)
            else:
                yield from definition_markdown(home.__name__, name)


def _module_of_result(hook: Callable[..., object]) -> ModuleType:
    """Return the module of the type that a hook's result is annotated with."""
    (name,) = re.findall(r"(\w+)\]+$", _arguments_and_result(hook))
    return import_module(getattr(protocols, name).__module__)


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
    yield f"    {shown.__name__}({', '.join(fields)})\n"
    yield _documentation(shown)


def _described(function: Callable[..., object]) -> list[str]:
    """Return the signature, as it is written in the source, and the docstring."""
    signature = f"    def {function.__name__}{_arguments_and_result(function)}\n"
    return [signature, _documentation(function)]


def _arguments_and_result(function: Callable[..., object]) -> str:
    source = inspect.cleandoc("\n" + inspect.getsource(function))
    (declared,) = ast.parse(source).body
    assert isinstance(declared, ast.FunctionDef)
    assert declared.returns is not None
    return f"({ast.unparse(declared.args)}) -> {ast.unparse(declared.returns)}"


def _documentation(documented: object) -> str:
    return docstring_markdown(inspect.getdoc(documented) or "")


def describe_plugin(registry: Registry, plugin: Plugin) -> str:
    """Return a few lines: origin, version, contract, then all that the plugin registers."""
    stated = contracts_of(registry.module_of(plugin))
    lines = [
        f"plugin: {plugin.name}",
        f"version: {plugin.version or 'none, it is not installed'}",
        f"from: {plugin.origin}",
        f"contract: {', '.join(map(str, stated)) if stated else 'not stated'}",
    ]
    for slot, names in plugin.provides.items():
        for name in names:
            lines += _strategy(slot, registry.strategies[slot][name])
    return "\n".join([*lines, *(f"note: {note}" for note in plugin.notes)])


def unchecked_by_strategy(registry: Registry, plugin: Plugin) -> Iterator[tuple[str, str]]:
    """Find the options of a plugin whose values cannot be checked.

    Yields:
        Slot and name of a strategy, such as "scheduler mine", and the reason for one option.
    """
    for slot, names in plugin.provides.items():
        for name in names:
            target = _target(slot, registry.strategies[slot][name])
            for option, reason in unchecked_options(target).items() if target else ():
                yield f"{slot} {name}", f"option '{option}': {reason}"


def _target(slot: str, strategy: Any) -> Any:
    """Return what the options of a strategy or a model are passed to; None without options."""
    if slot == "model":
        return strategy.build
    return strategy if isinstance(strategy, type) else None


_PREFIXES = {
    **{slot: f"{key}." for key, slot in reversed(STRATEGIES.items())},
    "model": "teacher.",
    "exporter": "--option ",
    "section": "--option {name}.",
}
"""What stands before the options of a slot; those of a choice in a list have no key of their own.
"""


def _strategy(slot: str, strategy: Any) -> list[str]:
    """Return what a strategy or a model is, in one line, then a line for each of its options."""
    if slot == "model":
        summary, target = strategy.summary, strategy.build
    else:
        summary, target = _summary(strategy), strategy
    prefix = _PREFIXES.get(slot, "").format(name=strategy.name)
    head = f"{slot} {strategy.name}"
    sizes = _sizes(strategy) if slot == "builder" else []
    return [f"{head}: {summary}" if summary else head, *_options(target, prefix), *sizes]


def _sizes(builder: Any) -> list[str]:
    """Return the other sizes that a builder offers, and when `auto` asks it."""
    sizes = getattr(builder, "sizes", ())
    if not sizes:
        return []
    texts = [" ".join(f"{key}={value}" for key, value in options.items()) for options in sizes]
    when = "after all others" if getattr(builder, "fallback", False) else "in turn"
    if getattr(builder, "within_limits", False):
        when = "only where the target limits cost or loss"
    return [f"  other sizes: {', '.join(texts)}", f"  builder=auto asks it {when}"]


def _summary(strategy: type) -> str:
    """Return the first paragraph of a class's docstring, if it has its own, in one line."""
    if (strategy.__doc__ or "").startswith(f"{strategy.__name__}("):  # what dataclass writes
        return ""
    return _first_paragraph(strategy)


def _first_paragraph(documented: object) -> str:
    return " ".join(inspect.cleandoc(documented.__doc__ or "").partition("\n\n")[0].split())


def _options(target: Callable[..., Any], prefix: str) -> list[str]:
    lines = []
    unchecked = unchecked_options(target)
    for name, (kind, default) in option_types(target).items():
        typed = "" if kind is Any else f": {inspect.formatannotation(kind)}"
        if name in unchecked:
            typed = f": not checked, since {unchecked[name]}"
        value = ", required" if default == MISSING else f" = {default}"
        lines.append(f"  {prefix}{name}{typed}{value}")
    return lines
