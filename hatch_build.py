"""Pack the plugins of `plugins/` into pbkd's wheel and editable installation, as their folders say.

Each `plugins/pbkd-NAME/` is a project of one module, `pbkd_NAME.py`. Its module is packed, and the
entry points of its `pyproject.toml` become pbkd's, unless that file says `[tool.pbkd]
on-demand = true`: then `--plugin pbkd_NAME` loads it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EDITABLE_PATHS = "_pbkd_plugins.pth"


def plugin_folders(root: Path) -> list[Path]:
    """Return the folders of the built-in plugins, sorted by name."""
    return sorted(path.parent for path in root.glob("plugins/pbkd-*/pyproject.toml"))


def plugin_module(folder: Path) -> Path:
    """Return the file of a plugin's module."""
    return folder / f"{folder.name.replace('-', '_')}.py"


def plugin_entry_points(root: Path) -> dict[str, str]:
    """Return the entry points, in the group `pbkd`, of all plugins that are not on demand.

    Raises:
        ValueError: Two plugins have an entry point of the same name.
    """
    points: dict[str, str] = {}
    for folder in plugin_folders(root):
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
        if project.get("tool", {}).get("pbkd", {}).get("on-demand", False):
            continue
        for name, module in project["project"]["entry-points"]["pbkd"].items():
            if name in points:
                raise ValueError(f"{folder}: {points[name]} has the entry point '{name}', too.")
            points[name] = module
    return points


class EntryPoints(MetadataHookInterface):
    """Add the plugins' entry points to those that the hook's table in pyproject.toml lists."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set `entry-points`, as hatchling calls it."""
        groups = {group: dict(points) for group, points in self.config["entry-points"].items()}
        groups["pbkd"] |= plugin_entry_points(Path(self.root))
        metadata["entry-points"] = groups


class PluginModules(BuildHookInterface[BuilderConfig]):
    """Pack every plugin's module; an editable installation gets the folders on its path."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the modules to what is packed, as hatchling calls it before it builds a wheel."""
        folders = plugin_folders(Path(self.root))
        if version == "editable":
            self._temporary = TemporaryDirectory()
            paths = Path(self._temporary.name, EDITABLE_PATHS)
            paths.write_text("\n".join([*map(str, folders), ""]), "utf-8")
            build_data["force_include_editable"][str(paths)] = EDITABLE_PATHS
        else:
            modules = map(plugin_module, folders)
            build_data["force_include"].update({str(path): path.name for path in modules})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the temporary files, as hatchling calls it after it has built a wheel."""
        if version == "editable":
            self._temporary.cleanup()
