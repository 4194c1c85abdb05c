"""Which builders a run asks for replacements: those that it names, or all that fit a block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pbkd.config.options import named_choice
from pbkd.config.schema import AUTO, DEFAULT_BUILDER
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pbkd.plugin.registry import Registry
    from pbkd.protocols import BlockBuilder


__all__ = ["AskedBuilder", "AskedBuilders", "ask_builders", "automatic_builders"]


class AskedBuilder(NamedTuple):
    """A builder, with its name and configured options."""

    choice: Mapping[str, Any]
    builder: BlockBuilder


@dataclass(frozen=True)
class AskedBuilders:
    """The builders of a run.

    Attributes:
        slots: For each candidate of a block, the builders that are asked for it in turn, until one
            has a cheaper replacement.
        is_open: Whether a block has as many candidates as fit it, rather than one for each slot.
    """

    slots: Sequence[Sequence[AskedBuilder]]
    is_open: bool = False

    def __iter__(self) -> Iterator[BlockBuilder]:
        """Iterate over all builders."""
        return (asked.builder for slot in self.slots for asked in slot)


def ask_builders(
    registry: Registry,
    choice: Mapping[str, Any],
    candidates: Sequence[Any] | None = None,
    *,
    is_limited: bool = False,
) -> AskedBuilders:
    """Create the builders of a run.

    Args:
        registry: The plugins.
        choice: The configuration's `builder`.
        candidates: The configuration's `candidates`: names, or names with options; None for all
            sizes of the builders, if the target limits the cost and `choice` has no options.
        is_limited: Whether it does.

    Returns:
        The builders; of `auto`, all that `automatic_builders` lists.

    Raises:
        UnknownNameError: If a name is not registered.
        ConfigError: If an option is invalid.
    """
    is_auto = choice["name"] == AUTO
    is_open = candidates is None and is_limited and list(choice) == ["name"]
    first = _automatic(registry, is_open=is_open) if is_auto else [_asked(registry, choice)]
    if is_open:
        every = [
            [one]
            for asked in first
            for one in (asked, *_other_sizes(registry, asked.choice["name"]))
        ]
        return AskedBuilders(every, is_open=True)
    named = [[_asked(registry, named_choice(entry))] for entry in candidates or ()]
    return AskedBuilders([first, *named])


def automatic_builders(registry: Registry, *, is_open: bool = False) -> list[str]:
    """List the builders of `builder=auto`, in the order in which they are asked.

    These are all that offer `sizes`: `low-rank` first, then the others in the order of their
    registration, those with `fallback = True` last.

    Args:
        registry: The plugins.
        is_open: Whether a choice among all candidates follows; else those with
            `within_limits = True` are left out.
    """
    builders = registry.strategies["builder"]
    offering = [
        name
        for name, builder in builders.items()
        if getattr(builder, "sizes", ())
        and (is_open or not getattr(builder, "within_limits", False))
    ]
    return sorted(
        offering,
        key=lambda name: (name != DEFAULT_BUILDER, getattr(builders[name], "fallback", False)),
    )


def _automatic(registry: Registry, *, is_open: bool) -> list[AskedBuilder]:
    """Create the builders of `auto`; note those that have no defaults for all their options."""
    asked = []
    for name in automatic_builders(registry, is_open=is_open):
        try:
            asked.append(_asked(registry, {"name": name}))
        except ConfigError as error:
            registry.notes.append(f"builder={AUTO} does not ask '{name}': {error}")
    return asked


def _other_sizes(registry: Registry, name: str) -> Iterator[AskedBuilder]:
    """Create a builder with the options of its larger and smaller replacements."""
    for options in getattr(registry.find("builder", name), "sizes", ()):
        yield _asked(registry, {"name": name, **options})


def _asked(registry: Registry, choice: Mapping[str, Any]) -> AskedBuilder:
    return AskedBuilder(choice, registry.create("builder", choice))
