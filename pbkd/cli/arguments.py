"""Arguments that several verbs have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["AsJson", "ConfigFile", "Overrides", "Plugins", "Trust", "read_options"]

AsJson = Annotated[
    bool, typer.Option("--json", help="Print events as JSON lines, and nothing else.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Configuration overrides, such as workers=2 or teacher=vgg16."),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file (YAML).")
]
Trust = Annotated[
    list[Path] | None,
    typer.Option(
        "--trust",
        help="Run the code that this file, or the files in this folder, name: plugins, and a"
        " teacher that is a Python function. Can be repeated.",
    ),
]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        help="Load a plugin (name of an installed plugin, module, or .py file) and use every"
        " strategy that it registers. Can be repeated.",
    ),
]


def read_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Parse the pairs `key=value` of a repeated `--option`.

    Returns:
        The values by key, as text until the types of the options are known.

    Raises:
        ConfigError: A pair has no key or no `=`, or two have the same key.
    """
    from pbkd.config.yaml_values import read_argument
    from pbkd.errors import ConfigError

    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"'{pair}' is not an option: write --option KEY=VALUE.")
        if key in options:
            raise ConfigError(f"--option has '{key}' twice: omit one.")
        options[key] = read_argument(text)
    return options
