"""`pbkd run`: compress a teacher."""

from __future__ import annotations

from typing import Annotated

import typer

from pbkd.cli.arguments import ConfigFile, Overrides, Plugins


def run(
    overrides: Overrides = None,
    config: ConfigFile = None,
    plugin: Plugins = None,
    seed: Annotated[int | None, typer.Option(help="The same as seed=N.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show the plan and stop.")] = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Show the configuration as YAML and stop.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the run folder.")
    ] = False,
) -> None:
    """Compress a teacher by blockwise distillation.

    Without arguments: the quickstart, on handwritten digits, with a teacher that pbkd ships.
    """
    from pbkd.config import load_config, to_yaml
    from pbkd.registry import build_registry

    specs = plugin or []
    registry = build_registry(specs)
    given = [*(overrides or []), *([f"seed={seed}"] if seed is not None else [])]
    settings = load_config(given, file=config, plugins=specs, registry=registry)
    for spec in settings.plugins:
        registry.provided_by(spec)
    if print_config:
        typer.echo(to_yaml(settings), nl=False)
        return
    from pbkd.cli.display import Display, show_plan
    from pbkd.run import plan_run
    from pbkd.run import run as run_config

    if plan:
        show_plan(plan_run(settings, registry).plan)
        return
    with Display(quiet=quiet) as display:
        result = run_config(settings, registry, display.show)
    if quiet:
        typer.echo(result.folder)
