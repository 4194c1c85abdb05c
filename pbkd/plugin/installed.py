"""The plugins that are installed as distributions (entry-point group `pbkd`)."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import Any

__all__ = ["DISABLED", "disabled_plugins", "installed_plugins"]

DISABLED = "PBKD_DISABLE_PLUGINS"
"""Variable with the names of installed plugins that are not loaded, separated by commas."""


def disabled_plugins() -> list[str]:
    """Return the names that `PBKD_DISABLE_PLUGINS` holds."""
    names = (name.strip() for name in os.environ.get(DISABLED, "").split(","))
    return [name for name in names if name]


def installed_plugins() -> list[tuple[Any, str, str]]:
    """List the installed plugins; pbkd's own come first, so that none takes a built-in's name.

    Returns:
        By plugin, its entry point, and name and version of its distribution, empty without one.
    """
    points = entry_points(group="pbkd")
    # Each access to a name or a version parses the distribution's whole metadata.
    dists: dict[Any, tuple[str, str]] = {None: ("", "")}
    dists |= {dist: (dist.name, dist.version) for dist in {p.dist for p in points} if dist}
    found = [(point, *dists[point.dist]) for point in points]
    return sorted(found, key=lambda plugin: (plugin[1] != "pbkd", plugin[0].name))
