"""`pbkd export`: a student in a format of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="A run's or a student's folder, or a name.")],
    kind: Annotated[
        str, typer.Option("--format", help="safetensors, onnx, torch-export or torchscript.")
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(help="The file, without its suffix.", show_default="TEACHER-student"),
    ] = None,
) -> None:
    """Write a student in a format that other tools read; load it again and compare outputs.

    It takes batches of any size of normalised images; a JSON file beside it says how to normalise.
    """
    from pbkd.models.export import export as write
    from pbkd.pipeline.load import reload
    from pbkd.zoo.store import resolve_student

    found = reload(resolve_student(run))
    name = found.recipe.teacher["name"].replace(":", "-")
    done = write(found.student, found.recipe, kind, out or Path(f"{name}-student"))
    typer.echo(
        f"{done.path}: its outputs differ from the student's by {done.difference:.1e} at most"
    )
