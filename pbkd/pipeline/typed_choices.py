"""The options of a run's choices, converted to the types that their targets declare."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pbkd.config.options import declared_options
from pbkd.config.schema import STRATEGIES
from pbkd.data.load import declared_data
from pbkd.errors import UnknownNameError
from pbkd.models.teacher import declared_teacher

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.config.schema import RunConfig
    from pbkd.plugin.registry import Registry


__all__ = ["typed_choices"]


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
    top = changes.pop("")
    for key, declared in (("teacher", declared_teacher), ("data", declared_data)):
        top[key] = getattr(config, key)
        with suppress(UnknownNameError):  # given in memory, or a mistake that is reported later
            top[key] = declared(registry, top[key])
    for section, choices in changes.items():
        top[section] = replace(getattr(config, section), **choices)
    return replace(
        config,
        **top,
        meters=[typed("meter", choice) for choice in config.meters],
        candidates=[typed("builder", choice) for choice in config.candidates],
    )


def _typed(registry: Registry, slot: str, choice: Any) -> Any:
    if not isinstance(choice, dict):
        return choice
    return _declared(registry.strategies[slot].get(choice["name"]), choice)


def _declared(target: Any, choice: Mapping[str, Any]) -> dict[str, Any]:
    if target is None:
        return dict(choice)
    options = {key: value for key, value in choice.items() if key != "name"}
    return {"name": choice["name"], **declared_options(target, options)}
