"""The options of a run's choices, converted to the types that their targets declare."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pbkd.config.options import MEMORY, choice_options, declared_options, named_choice
from pbkd.config.schema import LISTS, STRATEGIES
from pbkd.data.load import declared_data
from pbkd.errors import UnknownNameError
from pbkd.models.teacher import check_teacher_options, declared_teacher
from pbkd.plugin.user_code import is_user_function

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pbkd.config.schema import RunConfig
    from pbkd.plugin.registry import Registry


__all__ = ["check_strategies", "typed_choices"]

_LISTS = {**LISTS, "candidates": "builder"}
"""The slot of the choices in each list of the configuration."""
_AUTOMATIC = {
    "augmentation": ("source", "none"),
    "builder": ("auto",),
    "partitioner": ("auto",),
    "scheduler": ("auto",),
}
"""Names that no plugin registers: they let pbkd choose, or choose nothing."""


def typed_choices(config: RunConfig, registry: Registry) -> RunConfig:
    """Convert the options of all choices, so that the run's files have `[0.5]`, not its text.

    Args:
        config: The configuration, whose options may still be text (`read_overrides`).
        registry: The plugins.

    Returns:
        The configuration with converted options; unknown names and options stay as they are.
    """
    typed = partial(_typed, registry)
    changes: dict[str, dict[str, Any]] = {}
    for key, slot in STRATEGIES.items():
        section, _, option = key.rpartition(".")
        changes.setdefault(section, {})[option] = typed(slot, attrgetter(key)(config))
    top: dict[str, Any] = changes.pop("")
    for key, declared in (("teacher", declared_teacher), ("data", declared_data)):
        top[key] = getattr(config, key)
        with suppress(UnknownNameError):  # given in memory, or a mistake that is reported later
            top[key] = declared(registry, top[key])
    for section, choices in changes.items():
        top[section] = replace(getattr(config, section), **choices)
    for key, slot in _LISTS.items():
        if (chosen := getattr(config, key)) is not None:
            top[key] = [typed(slot, choice) for choice in chosen]
    return replace(config, **top)


def check_strategies(config: RunConfig, registry: Registry, *, is_complete: bool = True) -> None:
    """Check the names and options of all choices; nothing is loaded or measured.

    Args:
        config: The configuration.
        registry: The plugins.
        is_complete: Whether all plugins of the configuration are loaded; if not, another one may
            register an unknown name.

    Raises:
        UnknownNameError: A name is not registered.
        ConfigError: An option is unknown, missing, of the wrong type, or rejected.
        PluginError: A strategy has an option that cannot be configured.
    """
    for key, slot, choice in _choices(config, registry):
        with nullcontext() if is_complete else suppress(UnknownNameError):
            registry.create(slot, choice, key)
    with nullcontext() if is_complete else suppress(UnknownNameError):
        check_teacher_options(registry, config.teacher)


def _choices(config: RunConfig, registry: Registry) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the key of each choice that names a strategy, its slot, and the choice."""
    for key, slot in STRATEGIES.items():
        choice = attrgetter(key)(config)
        name = choice["name"]
        is_function = key == "data" and is_user_function(registry, name, slot)
        if not is_function and name not in (*_AUTOMATIC.get(key, ()), MEMORY):
            yield key, slot, choice
    for key, slot in _LISTS.items():
        for index, choice in enumerate(getattr(config, key) or ()):
            yield f"{key}.{index}", slot, named_choice(choice)


def _typed(registry: Registry, slot: str, choice: Any) -> Any:
    if not isinstance(choice, dict):
        return choice
    return _declared(registry.strategies[slot].get(choice["name"]), choice)


def _declared(target: Any, choice: Mapping[str, Any]) -> dict[str, Any]:
    if target is None:
        return dict(choice)
    return {"name": choice["name"], **declared_options(target, choice_options(choice))}
