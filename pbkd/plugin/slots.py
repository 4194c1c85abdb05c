"""Slots: the kinds of strategies that plugins register, and the checks of what they register."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from pbkd import hookspecs, protocols
from pbkd._version import __version__
from pbkd.errors import PluginError
from pbkd.plugin.observer_methods import observer_fault

__all__ = ["ON_REQUEST", "PROTOCOLS", "SLOTS", "check_contract", "contracts_of", "find_fault"]

SLOTS = {
    "partitioner": "register_partitioners",
    "builder": "register_builders",
    "loss": "register_losses",
    "scheduler": "register_schedulers",
    "meter": "register_meters",
    "launcher": "register_launchers",
    "model": "register_models",
    "observer": "register_observers",
    "data": "register_data",
    "augmentation": "register_augmentations",
    "optimiser": "register_optimisers",
    "lr-schedule": "register_lr_schedules",
    "exporter": "register_exporters",
    "selector": "register_selectors",
    "engine": "register_engines",
    "section": "register_sections",
}
"""The hook that registers strategies for each slot."""

PROTOCOLS: dict[str, type] = {
    "partitioner": protocols.Partitioner,
    "builder": protocols.BlockBuilder,
    "loss": protocols.Loss,
    "scheduler": protocols.Scheduler,
    "meter": protocols.EnergyMeter,
    "launcher": protocols.Launcher,
    "observer": protocols.Observer,
    "data": protocols.DataSource,
    "augmentation": protocols.ImageAugmentation,
    "optimiser": protocols.OptimiserBuilder,
    "lr-schedule": protocols.LearningRateSchedule,
    "exporter": protocols.Exporter,
    "selector": protocols.Selector,
    "engine": protocols.Engine,
    "section": protocols.ReportSection,
}
"""The protocol of each slot whose strategies are classes."""

ON_REQUEST = ("calibration", "context", "labels", "workload")
"""Arguments that methods get by keyword if they have a parameter of that name (`accepts`)."""


_RESERVED = ("auto", "memory", "none", "source")


def contracts_of(module: object) -> tuple[int, ...] | None:
    """Return the versions of the contract that a plugin's module states; None if it states none.

    Args:
        module: Its module, with `PBKD_CONTRACT` or without: a number, or several in a collection.

    Raises:
        PluginError: `PBKD_CONTRACT` is something else.
    """
    stated = getattr(module, "PBKD_CONTRACT", None)
    if stated is None:
        return None
    several = stated if isinstance(stated, (tuple, list, set, frozenset, range)) else (stated,)
    if not several or not all(type(number) is int for number in several):
        raise PluginError(
            f"its PBKD_CONTRACT is {stated!r}, but must be a number, or several in a tuple, such as"
            f" {hookspecs.CONTRACT}."
        )
    return tuple(several)


def check_contract(plugin: str, module: object) -> None:
    """Check the versions of the contract that a plugin's module states.

    Args:
        plugin: Name and version of the plugin, for the message.
        module: Its module.

    Raises:
        PluginError: The plugin is written for other contracts.
    """
    stated = contracts_of(module)
    if stated is None or hookspecs.CONTRACT in stated:
        return
    newer = min(stated) > hookspecs.CONTRACT
    raise PluginError(
        f"{plugin} is written for contract {' or '.join(map(str, sorted(stated)))} between pbkd and"
        f" its plugins, but pbkd {__version__} has contract {hookspecs.CONTRACT}: install"
        f" {'a newer pbkd' if newer else 'a newer version of the plugin, or an older pbkd'}."
    )


def find_fault(slot: str, strategy: Any) -> str | None:
    """Check one object that a plugin registers.

    Args:
        slot: A key of `SLOTS`.
        strategy: The object.

    Returns:
        What is wrong with it, such as "has no name"; None if nothing is.
    """
    if fault := _name_fault(getattr(strategy, "name", None)):
        return fault
    if slot == "model":
        return (
            None if isinstance(strategy, protocols.ZooModel) else "is not a pbkd.ZooModel: make one"
        )
    if not isinstance(strategy, type):
        return "is not a class: register the class itself"
    if slot == "observer":
        return observer_fault(strategy)
    protocol = vars(PROTOCOLS[slot])
    methods = {n: m for n, m in protocol.items() if inspect.isfunction(m) and n[0] != "_"}
    for name, method in methods.items():
        if not callable(getattr(strategy, name, None)):
            return f"has no method {name}: write {name}({', '.join(_passed(method))})"
        if fault := _signature_fault(strategy, name, method):
            return fault
    kinds = protocol.get("__annotations__", {})
    for name in (name for name in kinds if name not in protocol):
        value = getattr(strategy, name, None)
        if value is None or (kinds[name] == "ClassVar[str]" and not isinstance(value, str)):
            text = ", a text" if kinds[name] == "ClassVar[str]" else ""
            return f"has no attribute {name}{text}: add it to the class"
    return None


def _name_fault(name: object) -> str | None:
    if not isinstance(name, str) or not name:
        return "has no name: give its class an attribute name, a text"
    if ":" in name or name in _RESERVED:
        return (
            f"has the name '{name}', which has another meaning in a configuration: choose another"
        )
    return None


def _signature_fault(strategy: type, name: str, declared: Any) -> str | None:
    """Check that a method takes what pbkd passes: the protocol's arguments, in their order."""
    passed = list(_passed(declared))
    if isinstance(inspect.getattr_static(strategy, name), (staticmethod, classmethod)):
        del passed[0]
    try:
        parameters = inspect.signature(getattr(strategy, name)).parameters
    except (TypeError, ValueError):  # written in C
        return None
    asked = {n: None for n in ON_REQUEST if n in parameters and n not in passed}
    try:
        inspect.Signature(list(parameters.values())).bind(*passed, **asked)
    except TypeError:
        return f"has a method {name} that does not take ({', '.join(passed)}): let it take these"
    return None


@cache
def _passed(declared: Any) -> tuple[str, ...]:
    """Return the arguments that a method of a protocol always gets, by position."""
    return tuple(p.name for p in inspect.signature(declared).parameters.values() if _is_passed(p))


def _is_passed(parameter: inspect.Parameter) -> bool:
    """Whether a parameter of a protocol's method is always passed, and by position."""
    is_open = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return not is_open and parameter.default is parameter.empty
