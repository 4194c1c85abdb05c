"""What several verbs take: changes to the configuration, its file, plugins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["AsJson", "ConfigFile", "Overrides", "Plugins"]

AsJson = Annotated[
    bool, typer.Option("--json", help="Print every event as a line of JSON, and nothing else.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Changes to the configuration, such as workers=2 or teacher=vgg16."),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="A YAML file of configuration.")
]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        help="Load a plugin (an installed one's name, a module, or a .py file) and use every"
        " strategy that it registers.",
    ),
]
