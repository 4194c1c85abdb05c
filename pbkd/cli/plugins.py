"""`pbkd plugins`: what is installed, what it provides, whether it keeps its contract."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="The plugins that are installed.", no_args_is_help=True)

PluginName = Annotated[
    str, typer.Argument(help="An installed plugin's name, a module, or a .py file.")
]


@app.command("list")
def list_plugins() -> None:
    """List every plugin: version, origin, what it provides; then the broken ones and why."""
    from rich.table import Table

    from pbkd.cli.display import open_console
    from pbkd.registry import build_registry

    registry = build_registry()
    console = open_console()
    table = Table("plugin", "version", "from", "provides", box=None, pad_edge=False)
    for plugin in registry.plugins.values():
        provides = "; ".join(
            f"{slot} {', '.join(names)}" for slot, names in plugin.provides.items()
        )
        origin = plugin.origin.removesuffix(f" {plugin.version}")
        table.add_row(plugin.name, plugin.version, origin, provides or "nothing")
    console.print(table)
    for broken in registry.broken:
        console.print(f"broken: {broken.name} ({broken.origin}): {broken.reason}")


@app.command("show")
def show(name: PluginName) -> None:
    """Show a plugin: version, origin, contract, what it provides, with options and defaults."""
    from pbkd.describe import describe_plugin
    from pbkd.registry import build_registry, load_plugin

    registry = build_registry()
    typer.echo(describe_plugin(registry, load_plugin(registry, name)))
