"""Options other than the defaults, for conformance tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omegaconf import MISSING

from pbkd.config.options import option_types

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["other_options", "unset_option"]


def unset_option(strategy: type) -> str | None:
    """Return the first option without a default, if any."""
    defaults = ((name, default) for name, (_, default) in option_types(strategy).items())
    return next((name for name, default in defaults if default == MISSING), None)


def other_options(strategy: type) -> Iterator[dict[str, Any]]:
    """Yield each option that is a number or a switch with a value near its default, alone.

    Whether a strategy takes the value is its own decision.
    """
    for name, (_, default) in option_types(strategy).items():
        if isinstance(default, bool):
            yield {name: not default}
        elif isinstance(default, int):
            yield {name: default + 1}
        elif isinstance(default, float):
            yield {name: default / 2 if default else 0.5}
