"""`pbkd plugins`: list, describe, check and create plugins."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="List, describe, check and create plugins.", no_args_is_help=True)

PluginName = Annotated[
    str, typer.Argument(help="Name of an installed plugin, module, or .py file.")
]


@app.command("list")
def list_plugins() -> None:
    """List installed plugins: version, origin, what they provide; and broken ones with reasons."""
    from rich.table import Table

    from pbkd.plugin.registry import build_registry
    from pbkd.report.console.display import open_console

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
    for note in registry.notes:
        console.print(f"note: {note}")


@app.command("show")
def show(name: PluginName) -> None:
    """Show a plugin: version, origin, contract, and its strategies with options and defaults."""
    from pbkd.plugin.reference import describe_plugin
    from pbkd.plugin.registry import build_registry, load_plugin

    registry = build_registry()
    typer.echo(describe_plugin(registry, load_plugin(registry, name)))


@app.command("check")
def check(
    name: Annotated[
        str,
        typer.Argument(
            metavar="PATH|NAME",
            help="Name of an installed plugin, module, .py file, or folder of a plugin project.",
        ),
    ],
) -> None:
    """Run the conformance tests for everything that a plugin registers."""
    import os
    import tempfile

    from pbkd.errors import PluginError
    from pbkd.plugin.reference import unchecked_by_strategy
    from pbkd.plugin.registry import build_registry, load_plugin
    from pbkd.report.console.display import print_wide

    registry = build_registry()
    try:
        plugin = load_plugin(registry, _module_at(name) if name not in registry.plugins else name)
    except PluginError as error:
        typer.echo(f"{name}: FAILED: {error}")
        raise typer.Exit(1) from None
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", folder)
        from pbkd.testing import examine

        found = list(examine(registry, plugin))
    results = {True: "ok", False: "FAILED", None: "not checked"}
    rows = [
        (one.name, one.what, f"{results[one.passed]}{one.detail and ': '}{one.detail}")
        for one in found
    ]
    rows += [
        (subject, "options are checked", f"not checked: {reason}")
        for subject, reason in unchecked_by_strategy(registry, plugin)
    ]
    print_wide(("registered", "check", "result"), rows, left=3)
    if any(one.passed is False for one in found):
        raise typer.Exit(1)


def _module_at(name: str) -> str:
    """Return the module of a project folder, and add the folder to `sys.path`.

    A name that is not a folder is returned unchanged.
    """
    import sys

    from pbkd.core.files import user_path
    from pbkd.errors import PluginError

    folder = user_path(name)
    if not folder.is_dir():
        return name
    modules = [path for path in folder.glob("*.py") if not path.name.startswith("test_")]
    if len(modules) != 1:
        raise PluginError(f"'{name}' contains {len(modules)} modules: name the plugin's .py file.")
    sys.path.insert(0, str(folder.resolve()))
    return modules[0].stem


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the plugin, such as my-scheduler.")],
    kind: Annotated[
        str,
        typer.Option(
            help="scheduler, partitioner, builder, loss, meter, launcher, zoo, observer, data,"
            " augmentation, optimiser, lr-schedule, exporter, selector, engine or section."
        ),
    ],
) -> None:
    """Create a plugin project in the folder pbkd-NAME, as a copy of a built-in plugin.

    The project has a module, a test based on pbkd.testing, a README and a pyproject.toml.
    """
    from pathlib import Path

    from pbkd.plugin.registry import build_registry
    from pbkd.plugin.scaffold import KINDS, new_plugin

    folder = new_plugin(build_registry(), kind, name, Path())
    original = KINDS[kind][1]
    how = f"as a copy of '{original}'" if original else "from a template"
    typer.echo(f"{folder}: created {how}")
    typer.echo(f"install it with: pip install --editable {folder}")


@app.command("hooks")
def hooks() -> None:
    """Print a reference of all hooks and methods: signature, when and in which process."""
    from importlib import import_module

    from pbkd.plugin.interfaces import PACKAGES
    from pbkd.plugin.reference import hooks_markdown

    typer.echo(hooks_markdown(map(import_module, PACKAGES)), nl=False)
