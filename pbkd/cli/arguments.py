"""Arguments that several verbs have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["AsJson", "ConfigFile", "Overrides", "Plugins", "Trust"]

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
