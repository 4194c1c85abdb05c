"""`pbkd zoo`: the models that can be teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The models that can be teachers.", no_args_is_help=True)

Overrides = Annotated[
    list[str] | None, typer.Argument(help="Changes to the recipe, such as epochs=5 or data.path=…")
]


@app.command("list")
def list_models(
    family: Annotated[
        str | None, typer.Argument(help="List the variants of a family, such as timm.")
    ] = None,
) -> None:
    """List the models of every registered zoo, or the variants of a family."""
    from rich.table import Table

    from pbkd.cli.display import open_console
    from pbkd.registry import build_registry
    from pbkd.zoo import list_variants

    registry = build_registry()
    if family:
        typer.echo("\n".join(f"{family}:{name}" for name in list_variants(registry, family)))
        return
    table = Table("model", "weights", "what it is", box=None, pad_edge=False)
    for name, model in registry.strategies["model"].items():
        shipped = "shipped" if model.weights else "none"
        table.add_row(f"{name}:NAME" if model.variants else name, shipped, model.summary)
    open_console().print(table)


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="The model's name.")]) -> None:
    """Show a model: its options, its size, and how its weights were made."""
    from pbkd.registry import build_registry
    from pbkd.zoo import describe

    typer.echo(describe(build_registry(), name))


@app.command("train")
def train(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Folder for NAME.safetensors and NAME.yaml.")] = Path(
        "trained"
    ),
) -> None:
    """Train a model by the recipe on its card; write its weights and a new card."""
    from pbkd.registry import build_registry
    from pbkd.train import train_model

    def tell(epoch: int, loss: float, score: float) -> None:
        typer.echo(f"epoch {epoch + 1}: loss {loss:.4f}, validation {100 * score:.2f} %")

    card = train_model(build_registry(), name, overrides or [], out, tell)
    typer.echo(f"{card}: test accuracy and checksum recorded")
