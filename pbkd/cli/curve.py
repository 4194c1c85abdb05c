"""`pbkd curve`: students of several sizes; `pbkd pick`: one of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from pbkd.cli.arguments import AsJson, ConfigFile, Overrides, Plugins, Trust
from pbkd.cli.run import run

_POINTS = "target.curve=[0.5, 0.35, 0.25, 0.15]"


def curve(
    overrides: Overrides = None,
    config: ConfigFile = None,
    plugin: Plugins = None,
    trust: Trust = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print the plan and exit.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the folder.")] = False,
    as_json: AsJson = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Resume the curve in the folder that is the next argument."),
    ] = False,
) -> None:
    """Compress a teacher to several sizes, to choose among.

    The same as `pbkd run target.curve=[0.5,0.35,0.25,0.15]`: shares of the teacher's MACs.
    """
    arguments = [*(overrides or [])]
    if not resume and not _has_points(arguments, config):
        arguments.append(_POINTS)
    run(
        arguments,
        config,
        plugin=plugin,
        trust=trust,
        plan=plan,
        quiet=quiet,
        as_json=as_json,
        resume=resume,
    )


def _has_points(arguments: list[str], config: Path | None) -> bool:
    from pbkd.config.load import load_config

    target = [argument for argument in arguments if argument.startswith("target.curve=")]
    return load_config(target, file=config).target.curve is not None


def pick(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished curve.", metavar="curve")],
    point: Annotated[str, typer.Argument(help="The point: its share of the MACs, such as 0.35.")],
    to: Annotated[
        Path | None, typer.Option(help="Copy the point's run folder to this new folder.")
    ] = None,
) -> None:
    """Pick the student of a point of a curve, and print its run folder.

    From then on the curve's folder stands for it, in `pbkd export`, `latency`, `compare`,
    `baseline` and `pbkd.load`.
    """
    from pbkd.errors import RunFolderError
    from pbkd.runs.curves import pick_point

    picked = pick_point(folder, point)
    if to is not None:
        try:
            shutil.copytree(picked, to)
        except FileExistsError:
            raise RunFolderError(f"'{to}' is there already: name a new folder.") from None
    typer.echo(to or picked)
