"""The plugins that are installed as distributions (entry-point group `pbkd`)."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

__all__ = ["DISABLED", "disabled_plugins", "installed_plugins", "plugin_points"]

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
    return sorted(plugin_points(), key=lambda plugin: (plugin[1] != "pbkd", plugin[0].name))


def plugin_points() -> tuple[tuple[Any, str, str], ...]:
    """Like `installed_plugins`, in the order in which they are found."""
    return _plugin_points(_installed_files())


@lru_cache(maxsize=1)
def _plugin_points(_files: object) -> tuple[tuple[Any, str, str], ...]:
    """Read the entry points of all distributions, which takes 7 ms, once for the same files."""
    points = entry_points(group="pbkd")
    # Each access to a name or a version parses the distribution's whole metadata.
    dists: dict[Any, tuple[str, str]] = {None: ("", "")}
    dists |= {dist: (dist.name, dist.version) for dist in {p.dist for p in points} if dist}
    return tuple((point, *dists[point.dist]) for point in points)


def _installed_files() -> tuple[object, ...]:
    """Describe what entry points are read from: places and files, with their times."""
    files: list[object] = [*sys.meta_path]
    for place in sys.path:
        files.append((place, _changed(place)))
        with suppress(OSError), os.scandir(place or ".") as found:
            infos = sorted(e.path for e in found if e.name.endswith((".dist-info", ".egg-info")))
            files += [(info, _changed(f"{info}/entry_points.txt")) for info in infos]
    return tuple(files)


def _changed(path: str) -> tuple[int, int] | None:
    with suppress(OSError):
        status = os.stat(path or ".")  # noqa: PTH116
        return status.st_mtime_ns, status.st_size
    return None
