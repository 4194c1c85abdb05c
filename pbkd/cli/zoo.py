"""`pbkd zoo`: the models that can be teachers, and the students made from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pbkd.cli.torchrun import begun_run, carries_out

if TYPE_CHECKING:
    from pbkd.zoo.listing import Row

app = typer.Typer(
    help="The models that can be teachers, and the students made from them.", no_args_is_help=True
)

ModelName = Annotated[str, typer.Argument(help="The model's name.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Changes to the recipe, such as epochs=5 or data.path=…")
]


@app.command("list")
def list_models(
    family: Annotated[
        str | None, typer.Argument(help="List the variants of a family, such as timm.")
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
    """Cut what was typed to make a model to what fits; `show` has all of it."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


@app.command("path")
def path() -> None:
    """Print the folders in which students are looked for, and how to add one."""
    from pbkd.zoo.store import VARIABLE, zoo_folders

    for folder in zoo_folders():
        typer.echo(f"{folder}" if folder.is_dir() else f"{folder} (not there)")
    typer.echo(f"add one with: {_listing(Path('FOLDER'), VARIABLE)}")


def _listing(folder: Path, variable: str) -> str:
    """Return the shell's command that adds a folder to those in use."""
    import os
    import shlex

    before = f"{os.pathsep}${variable}" if os.environ.get(variable) else ""
    return f"export {variable}={shlex.quote(str(folder))}{before}"


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="A model's or a student's name.")]) -> None:
    """Show a model or a student: options, size, how its weights were made, how they score."""
    from pbkd.plugin.registry import build_registry
    from pbkd.zoo.recipes import describe
    from pbkd.zoo.store import describe_student, find_student

    registry = build_registry()
    student = None if name in registry.strategies["model"] else find_student(name)
    typer.echo(describe_student(student) if student else describe(registry, name))


@app.command("train")
def train(
    name: ModelName,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Folder for NAME.safetensors and NAME.yaml.")] = Path(
        "trained"
    ),
) -> None:
    """Train a model by the recipe on its card; write its weights and a new card."""
    from pbkd.plugin.registry import build_registry
    from pbkd.zoo.train import train_model

    def tell(epoch: int, loss: float, score: float) -> None:
        typer.echo(f"epoch {epoch + 1}: loss {loss:.4f}, validation {100 * score:.2f} %")

    card = train_model(build_registry(), name, overrides or [], out, tell)
    typer.echo(f"{card}: test accuracy and checksum recorded")


@app.command("compress")
def compress(
    name: ModelName,
    overrides: Overrides = None,
    seed: Annotated[int | None, typer.Option(help="The same as seed=N.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show the plan and stop.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the run folder.")
    ] = False,
) -> None:
    """Compress a model by the recipe that is recorded for it, as `pbkd run` does."""
    from pbkd.cli.run import carry_out
    from pbkd.config.load import load_config
    from pbkd.plugin.registry import build_registry
    from pbkd.zoo.recipes import compression_config

    given = [*(overrides or []), *([f"seed={seed}"] if seed is not None else [])]
    registry = build_registry()
    config = compression_config(registry, name, given)
    begun = begun_run(lambda: Path(config.out))
    with carries_out(lambda: begun) as here:
        if here:
            settings = load_config(file=begun / "config.yaml") if begun else config
            carry_out(settings, registry, begun, plan=plan, quiet=quiet)


@app.command("add")
def add(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    name: Annotated[
        str | None, typer.Option(help="What the student is called.", show_default="TEACHER-student")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="The zoo folder.", show_default="the first of PBKD_ZOO, or pbkd-zoo"),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="Of the weights, such as Apache-2.0.", show_default="the teacher's"),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Round the weights to half precision.")
    ] = False,
) -> None:
    """Put the student of a run into a zoo folder: weights, recipe, card and README."""
    from pbkd.plugin.registry import build_registry
    from pbkd.zoo.add import add_student
    from pbkd.zoo.store import VARIABLE, named_folders, zoo_folders

    zoo = to or next(iter(named_folders()), Path("pbkd-zoo"))
    folder = add_student(build_registry(), run, zoo, name=name, licence=licence, half=half)
    typer.echo(f"added {folder.name}: {folder}")
    if zoo.resolve() not in [known.resolve() for known in zoo_folders()]:
        typer.echo(f"to have it listed and found by name: {_listing(zoo.resolve(), VARIABLE)}")


@app.command("verify")
def verify(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]... [data.path=FILE]",
            help="Models and students, all without; where a card's data is on this machine.",
        ),
    ] = None,
) -> None:
    """Check weights against their cards: checksum, size, and accuracy where the data is at hand."""
    from rich.table import Table

    from pbkd.config.load import read_overrides
    from pbkd.errors import ConfigError
    from pbkd.plugin.registry import build_registry
    from pbkd.report.console.display import open_console
    from pbkd.zoo.verify import verify as verify_zoo

    given = arguments or []
    overrides = read_overrides([argument for argument in given if "=" in argument])
    for key in overrides.keys() - {"data"}:
        raise ConfigError(f"'{key}' cannot be set here: only data, such as data.path=FILE.")
    names = [argument for argument in given if "=" not in argument]
    checks = list(verify_zoo(build_registry(), names, overrides.get("data")))
    table = Table("name", "check", "result", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    results = {True: "ok", False: "FAILED", None: "not checked"}
    for check in checks:
        table.add_row(check.name, check.what, f"{results[check.passed]}: {check.detail}")
    open_console().print(table)
    if any(check.passed is False for check in checks):
        raise typer.Exit(1)
