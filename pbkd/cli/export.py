"""`pbkd export`: a student as ONNX, TorchScript or torch.export program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run or a student, or a student's name.")],
    kind: Annotated[
        str, typer.Option("--format", help="safetensors, onnx, torch-export or torchscript.")
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(help="Output file without suffix.", show_default="TEACHER-student"),
    ] = None,
) -> None:
    """Export a student, load the file again and compare outputs.

    The exported network takes normalised images in batches of any size; a JSON file next to it
    holds the normalisation.
    """
    from pbkd.models.export import export as write
    from pbkd.pipeline.load import reload
    from pbkd.zoo.store import resolve_student

    loaded = reload(resolve_student(run))
    name = loaded.recipe.teacher["name"].replace(":", "-")
    done = write(loaded.student, loaded.recipe, kind, out or Path(f"{name}-student"))
    typer.echo(
        f"{done.path}: its outputs differ from the student's by {done.difference:.1e} at most"
    )
