"""Slots: the kinds of strategies that plugins register, and the checks of what they register."""

from __future__ import annotations

import inspect
from typing import Any

from pbkd import hookspecs, protocols
from pbkd._version import __version__
from pbkd.errors import PluginError

__all__ = ["PROTOCOLS", "SLOTS", "check_contract", "find_fault"]

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
    "section": protocols.ReportSection,
}
"""The protocol of each slot whose strategies are classes."""


def check_contract(plugin: str, module: object) -> None:
    """Check the version of the contract that a plugin's module states.

    Args:
        plugin: Name and version of the plugin, for the message.
        module: Its module, with `PBKD_CONTRACT` or without.

    Raises:
        PluginError: The plugin is written for another contract.
    """
    stated = getattr(module, "PBKD_CONTRACT", hookspecs.CONTRACT)
    if stated == hookspecs.CONTRACT:
        return
    newer = isinstance(stated, int) and stated > hookspecs.CONTRACT
    raise PluginError(
        f"{plugin} is written for contract {stated!r} between pbkd and its plugins, but pbkd"
        f" {__version__} has contract {hookspecs.CONTRACT}: install"
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
    if not isinstance(getattr(strategy, "name", None), str) or not strategy.name:
        return "has no name"
    if slot == "model":
        return None if isinstance(strategy, protocols.ZooModel) else "is not a pbkd.ZooModel"
    if not isinstance(strategy, type):
        return "is not a class"
    methods = (n for n, member in vars(PROTOCOLS[slot]).items() if inspect.isfunction(member))
    missing = [n for n in methods if n[0] != "_" and not callable(getattr(strategy, n, None))]
    return f"has no method {missing[0]}" if missing else None
