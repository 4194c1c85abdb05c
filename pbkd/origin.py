"""Where a student came from, fit for others to read: the command, without this machine's paths."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbkd.config import RunConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["public_data", "reproducing_command", "without_paths"]

# Of what was not on the command line, these have no part in what comes out.
_INCIDENTAL = ("out", "meters")


def reproducing_command(command: str, config: RunConfig) -> str:
    """Return the command of a run if it says everything, else one made from the configuration.

    One that resumes a run or reads a file of configuration does not, nor does a program that calls
    pbkd.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    elsewhere = [word for word in words if re.match(r"--resume|--config|-\w*c", word)]
    if (words[:2] == ["pbkd", "run"] or words[:3] == ["pbkd", "zoo", "compress"]) and not elsewhere:
        return command
    return shlex.join(["pbkd", "run", *_overrides(asdict(config), asdict(RunConfig()))])


def public_data(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return a choice of data with no more of its path than the last part."""
    data = {key: value for key, value in choice.items() if key != "download"}
    if "path" in data:
        data["path"] = Path(str(data["path"])).name
    return data


def without_paths(text: str, config: RunConfig) -> str:
    """Return text in which the files of a configuration stand without their folders."""
    named = [config.data.get("path"), config.teacher.get("weights"), config.out, *config.plugins]
    paths = {str(path) for path in named if path and Path(str(path)).expanduser().is_absolute()}
    for path in sorted(paths, key=len, reverse=True):
        text = text.replace(path, Path(path).name)
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def _overrides(
    tree: Mapping[str, Any], preset: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Yield `key=value` for whatever is not as preset; a choice is its name, then its options."""
    for key, value in tree.items():
        if value == preset.get(key) or (not prefix and key in _INCIDENTAL):
            continue
        if not isinstance(value, dict):
            yield f"{prefix}{key}={_written(value)}"
        elif "name" in value:
            yield f"{prefix}{key}={_written(value['name'])}"
            options = {option: value[option] for option in value if option != "name"}
            yield from (f"{prefix}{key}.{o}={_written(given)}" for o, given in options.items())
        else:
            yield from _overrides(value, preset[key], f"{prefix}{key}.")


def _written(value: Any) -> str:
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z_/][\w./:-]*", value)
    if plain and value.lower() not in ("true", "false", "null", "yes", "no", "on", "off"):
        return str(value)
    return json.dumps(value)
