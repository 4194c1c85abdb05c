"""`pbkd plugins`: what is installed."""

from __future__ import annotations

import typer

app = typer.Typer(help="The plugins that are installed.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `list` a verb of its own."""


@app.command("list")
def list_plugins() -> None:
    """List every plugin: where it came from and what it provides; then the broken ones and why."""
    from rich.table import Table

    from pbkd.cli.display import open_console
    from pbkd.registry import build_registry

    registry = build_registry()
    console = open_console()
    table = Table("plugin", "from", "provides", box=None, pad_edge=False)
    for plugin in registry.plugins.values():
        provides = "; ".join(
            f"{slot} {', '.join(names)}" for slot, names in plugin.provides.items()
        )
        table.add_row(plugin.name, plugin.origin, provides or "nothing")
    console.print(table)
    for broken in registry.broken:
        console.print(f"broken: {broken.name} ({broken.origin}): {broken.reason}")
