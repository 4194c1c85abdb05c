"""`pbkd hub`: students on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Push students to the Hugging Face hub, list them, and show their cards.",
    no_args_is_help=True,
)


@app.command("push")
def push(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run, or a student of a zoo.")],
    name: Annotated[str, typer.Argument(help="OWNER/NAME on the hub.")],
    private: Annotated[
        bool, typer.Option("--private", help="Create the model so that nobody else sees it.")
    ] = False,
    licence: Annotated[
        str | None,
        typer.Option(
            help="Licence of the weights, such as Apache-2.0.", show_default="the teacher's"
        ),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Round the weights to half precision.")
    ] = False,
) -> None:
    """Push the student of a run: weights, recipe, card and README.

    The login is made by `hf auth login`, or HF_TOKEN holds a token; HF_ENDPOINT names another hub.
    """
    from pbkd.plugin.registry import build_registry
    from pbkd.zoo.push import push_student

    pushed = push_student(build_registry(), run, name, private=private, licence=licence, half=half)
    typer.echo(f"pushed {', '.join(pushed.files)}: {pushed.commit}")
    typer.echo(f"in Python: pbkd.load({pushed.name!r})")
    if pushed.licence is None:
        typer.echo("no licence: nobody may use the student before --licence states one")


@app.command("list")
def list_students(
    owner: Annotated[
        str | None,
        typer.Argument(help="User or organisation.", show_default="all"),
    ] = None,
) -> None:
    """List students on the hub, the newest first."""
    from pbkd.report.console.display import print_wide
    from pbkd.zoo.hub_calls import address
    from pbkd.zoo.hub_listing import HEADS, MOST, students_on_hub

    rows = students_on_hub(owner)
    if not rows:
        typer.echo(f"{address()} has no students" + (f" of '{owner}'" if owner else ""))
        return
    print_wide(HEADS, rows, left=2)
    if len(rows) == MOST:
        typer.echo(f"the newest {MOST}; name an owner to see others")


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="OWNER/NAME, or OWNER/NAME@REVISION.")],
) -> None:
    """Show the card and the README of a student on the hub."""
    from pbkd.errors import HubError
    from pbkd.zoo.hub import read_hub_name
    from pbkd.zoo.store import describe_on_hub

    found = read_hub_name(name)
    if found is None:
        raise HubError(f"'{name}' is neither OWNER/NAME nor OWNER/NAME@REVISION.")
    typer.echo(describe_on_hub(found))
