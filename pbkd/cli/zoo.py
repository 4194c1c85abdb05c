"""`pbkd zoo`: teachers and their students."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pbkd.cli.stop import say_when_stopped
from pbkd.cli.torchrun import coordinator_role, run_before_restart

if TYPE_CHECKING:
    from pbkd.zoo.listing import Row

app = typer.Typer(
    help="List, train, compress, add and verify teachers and students.", no_args_is_help=True
)

ModelName = Annotated[str, typer.Argument(help="Name of the model.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Overrides of the recipe, such as epochs=5 or data.path=…"),
]


@app.command("list")
def list_models(
    family: Annotated[
        str | None, typer.Argument(help="Family whose variants are listed, such as timm.")
    ] = None,
) -> None:
    """List models and students with their figures, or the variants of a family."""
    from pbkd.models.teacher import list_variants
    from pbkd.plugin.registry import build_registry
    from pbkd.zoo.listing import catalogue

    registry = build_registry()
    if family:
        typer.echo("\n".join(f"{family}:{name}" for name in list_variants(registry, family)))
    else:
        _show_rows(catalogue(registry))


def _show_rows(rows: list[Row]) -> None:
    from rich.table import Table

    from pbkd.report.console.display import open_console
    from pbkd.zoo.listing import HEADS, cells

    console = open_console()
    lines = [cells(row) for row in rows]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in HEADS:
        right = head in ("accuracy", "parameters", "MACs", "size")
        table.add_column(head, justify="right" if right else "left", no_wrap=True)
    taken = sum(max(map(len, column)) + 2 for column in list(zip(HEADS, *lines, strict=True))[:-1])
    for *others, made in lines:
        table.add_row(*others, _shortened(made, max(20, console.width - taken - 2)))
    console.print(table)


def _shortened(text: str, width: int) -> str:
    """Shorten a command to the available width; `pbkd zoo show` prints all of it."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


@app.command("path")
def path() -> None:
    """Print the folders that are searched for students, and how to add one."""
    from pbkd.zoo.store import VARIABLE, zoo_folders

    for folder in zoo_folders():
        typer.echo(f"{folder}" if folder.is_dir() else f"{folder} (does not exist)")
    typer.echo(f"add one with: {_export_command(Path('FOLDER'), VARIABLE)}")


def _export_command(folder: Path, variable: str) -> str:
    """Return the shell command that adds a folder to the environment variable."""
    import os
    import shlex

    before = f"{os.pathsep}${variable}" if os.environ.get(variable) else ""
    return f"export {variable}={shlex.quote(str(folder))}{before}"


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="Name of a model or a student.")]) -> None:
    """Show a model or a student: options, size, accuracy, and how its weights were made."""
    from pbkd.plugin.registry import build_registry
    from pbkd.zoo.recipes import describe
    from pbkd.zoo.store import describe_student, find_student

    registry = build_registry(functions=[name])
    student = None if name in registry.strategies["model"] else find_student(name)
    typer.echo(describe_student(student) if student else describe(registry, name))


@app.command("train")
def train(
    name: Annotated[str, typer.Argument(help="Name of the model, or MODULE:FUNCTION.")],
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Folder for NAME.safetensors and NAME.yaml.")] = Path(
        "trained"
    ),
) -> None:
    """Train a model by the recipe on its card, or a function's network; write weights and a card.

    It goes on from the weights that teacher.weights=FILE or teacher.pretrained=true name, or that
    the function's network has; else it begins with random ones.
    """
    say_when_stopped("stopped; nothing was written")
    from pbkd.plugin.registry import build_registry
    from pbkd.plugin.user_code import typed_functions
    from pbkd.report.console.show import shown
    from pbkd.report.scores import score_text
    from pbkd.zoo.train import train_model

    name = name.removeprefix("teacher=")
    registry = build_registry(functions=[name, *typed_functions(overrides or [])])
    with shown() as emit:
        trained = train_model(registry, name, overrides or [], out, emit)
    typer.echo(f"test accuracy {score_text(trained.test, trained.test_images)}")
    typer.echo(f"weights: {trained.weights}")
    typer.echo(f"card: {trained.card}")
    typer.echo(f"compress it: {trained.command}")


@app.command("compress")
def compress(
    name: ModelName,
    overrides: Overrides = None,
    seed: Annotated[int | None, typer.Option(help="Random seed; the same as seed=N.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print the plan and exit.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the run folder.")
    ] = False,
) -> None:
    """Compress a model like `pbkd run`, with the recipe recorded for it."""
    from pbkd.cli.run import run_or_plan
    from pbkd.core.files import user_path
    from pbkd.pipeline.trust import open_run
    from pbkd.plugin.registry import build_registry
    from pbkd.plugin.user_code import typed_functions
    from pbkd.zoo.recipes import compression_config

    words = [*(overrides or []), *([f"seed={seed}"] if seed is not None else [])]
    registry = build_registry(functions=[name, *typed_functions(words)])
    config = compression_config(registry, name, words)
    begun = run_before_restart(lambda: user_path(config.out))
    with coordinator_role(lambda: begun) as is_coordinator:
        if is_coordinator:
            if begun:
                config, registry = open_run(begun, trust=[begun])
            run_or_plan(config, registry, begun, plan=plan, quiet=quiet)


@app.command("add")
def add(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the student.", show_default="TEACHER-student")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="Zoo folder.", show_default="the first of PBKD_ZOO, or pbkd-zoo"),
    ] = None,
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
    """Add the student of a run to a zoo folder: weights, recipe, card and README."""
    from pbkd.plugin.registry import build_registry
    from pbkd.zoo.add import add_student
    from pbkd.zoo.store import VARIABLE, named_folders, zoo_folders

    zoo = to or next(iter(named_folders()), Path("pbkd-zoo"))
    folder = add_student(build_registry(), run, zoo, name=name, licence=licence, half=half)
    typer.echo(f"added {folder.name}: {folder}")
    if zoo.resolve() not in [known.resolve() for known in zoo_folders()]:
        typer.echo(f"to list it and load it by name: {_export_command(zoo.resolve(), VARIABLE)}")


@app.command("verify")
def verify(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]... [data.path=FILE]",
            help="Models and students (default: all); the path of a card's data.",
        ),
    ] = None,
) -> None:
    """Verify weights against their cards: checksum, size, and accuracy if the data is available."""
    from rich.table import Table

    from pbkd.config.load import read_overrides
    from pbkd.errors import ConfigError
    from pbkd.plugin.registry import build_registry
    from pbkd.plugin.user_code import typed_functions
    from pbkd.report.console.display import open_console
    from pbkd.zoo.verify import verify as verify_zoo

    words = arguments or []
    pairs = [argument for argument in words if "=" in argument]
    overrides = read_overrides(pairs)
    for key in overrides.keys() - {"data"}:
        raise ConfigError(f"'{key}' cannot be set here: set only data, such as data.path=FILE.")
    names = [argument for argument in words if "=" not in argument]
    registry = build_registry(functions=typed_functions(pairs))
    checks = list(verify_zoo(registry, names, overrides.get("data")))
    table = Table("name", "check", "result", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    results = {True: "ok", False: "FAILED", None: "not checked"}
    for check in checks:
        table.add_row(check.name, check.what, f"{results[check.passed]}: {check.detail}")
    open_console().print(table)
    if any(check.passed is False for check in checks):
        raise typer.Exit(1)
