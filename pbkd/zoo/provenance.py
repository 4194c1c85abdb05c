"""Provenance of a student on its card: the command and the data that made it."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbkd.config.schema import RunConfig
from pbkd.config.yaml_values import written
from pbkd.core.files import user_path
from pbkd.report.markdown import markdown_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["override_words", "public_data", "reproducing_command", "without_paths"]

_IRRELEVANT = ("out", "meters", "observers")  # keys that do not affect the student


def reproducing_command(command: str, config: RunConfig) -> str:
    """Return a command that reproduces a run.

    Args:
        command: The command line of the run. It is returned as it is, unless it resumed a run,
            read a configuration file, or was not a pbkd command.
        config: The configuration of the run, from which the command is otherwise made.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    incomplete = [word for word in words if re.match(r"--resume|--config|-\w*c", word)]
    if (
        words[:2] == ["pbkd", "run"] or words[:3] == ["pbkd", "zoo", "compress"]
    ) and not incomplete:
        return command
    return shlex.join(["pbkd", "run", *override_words(asdict(config), asdict(RunConfig()))])


def public_data(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return a data configuration without `download` and without the folders of its path."""
    data = {key: value for key, value in choice.items() if key != "download"}
    if "path" in data:
        data["path"] = Path(str(data["path"])).name
    return data


def without_paths(text: str, config: RunConfig) -> str:
    """Remove the folders of a configuration's absolute paths, and the home folder, from a text.

    They are found as they are, as in code, and as Markdown has them.
    """
    named = [config.data.get("path"), config.teacher.get("weights"), config.out, *config.plugins]
    paths = {str(path) for path in named if path and user_path(str(path)).is_absolute()}
    shorter = {path: Path(path).name for path in sorted(paths, key=len, reverse=True)}
    home = str(Path.home())
    if len(home) > 1:
        shorter[home] = "~"
    for path, name in shorter.items():
        text = text.replace(path, name).replace(markdown_text(path), markdown_text(name))
    return text


def override_words(
    tree: Mapping[str, Any], preset: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Yield the words `key=value` by which a configuration differs from another.

    Args:
        tree: The configuration, nested, or some of its keys.
        preset: The values that need no word, such as the defaults.
        prefix: What the keys begin with, such as `distill.`.
    """
    for key, value in tree.items():
        if value == preset.get(key) or (not prefix and key in _IRRELEVANT):
            continue
        if not isinstance(value, dict):
            yield f"{prefix}{key}={_literal(value)}"
        elif "name" in value:
            yield f"{prefix}{key}={_literal(value['name'])}"
            options = {option: value[option] for option in value if option != "name"}
            yield from (f"{prefix}{key}.{o}={_literal(v)}" for o, v in options.items())
        else:
            yield from override_words(value, preset[key], f"{prefix}{key}.")


def _literal(value: Any) -> str:
    """Write a value as it is typed after `key=`: text as it is, lists and mappings as JSON."""
    text = written(value)
    return json.dumps(value, ensure_ascii=False) if text is None else text
