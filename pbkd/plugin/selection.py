"""What `--plugin` selected, and how to select the rest of what a plugin provides."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from pbkd.config.options import named_choice
from pbkd.config.schema import LISTS, STRATEGIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


__all__ = ["selection_notes"]

_LISTS = {**LISTS, "candidates": "builder"}
_ELSEWHERE = {
    "model": "teacher={}",
    "exporter": "pbkd export --format {}",
    "section": "pbkd report --section {}",
}
"""By slot from which `--plugin` selects nothing, how one of its strategies is selected."""


def selection_notes(
    plugins: Mapping[str, Mapping[str, Sequence[str]]], config: object
) -> list[str]:
    """Say what the plugins that `--plugin` names have to do with a configuration.

    Args:
        plugins: By plugin, the names that it registers, by slot.
        config: The configuration.

    Returns:
        One sentence per plugin.
    """
    return [_note(spec, provided, config) for spec, provided in plugins.items()]


def _note(spec: str, provided: Mapping[str, Sequence[str]], config: object) -> str:
    selected = dict(_selected(provided, config))
    others = [
        f"the {slot} '{name}' ({_how(slot).format(name)})"
        for slot, names in provided.items()
        for name in names
        if (slot, name) not in selected.values()
    ]
    chosen = ", ".join(f"{key}={name}" for key, (_, name) in selected.items()) or "nothing"
    return f"--plugin {spec} selects {chosen}" + (
        f"; to select what else it provides: {', '.join(others)}." if others else "."
    )


def _selected(
    provided: Mapping[str, Sequence[str]], config: object
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the keys that select something of a plugin: each with slot and name."""
    for key, slot in {"teacher": "model", **STRATEGIES}.items():
        name = attrgetter(key)(config)["name"]
        known = name.partition(":")[0] if slot == "model" else name
        if known in provided.get(slot, ()):
            yield key, (slot, known)
    for key, slot in _LISTS.items():
        for index, choice in enumerate(getattr(config, key) or ()):
            name = named_choice(choice)["name"]
            if name in provided.get(slot, ()):
                yield f"{key}.{index}", (slot, name)


def _how(slot: str) -> str:
    """Return the key or the command that selects a strategy, with a place for its name."""
    keys = {slot: f"{key}={{}}" for key, slot in reversed(STRATEGIES.items())}
    keys |= {slot: f"{key}=[{{}}]" for key, slot in _LISTS.items() if slot not in keys}
    return {**keys, **_ELSEWHERE}[slot]
