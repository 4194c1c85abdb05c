"""`pbkd export`: a student as a file that needs no pbkd."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from pbkd.cli.arguments import Trust


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run or a student, or a student's name.")],
    kind: Annotated[
        str,
        typer.Option(
            "--format", help="onnx, torch-export, torchscript, safetensors, or pytorch: code."
        ),
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(help="Output file without suffix.", show_default="TEACHER-student"),
    ] = None,
    with_preparation: Annotated[
        bool,
        typer.Option(
            "--with-preparation", help="Let the network take uint8 pixels, and normalise them."
        ),
    ] = False,
    make: Annotated[
        str | None,
        typer.Option(help="MODULE:FUNCTION that builds your own network, if it is needed."),
    ] = None,
    trust: Trust = None,
) -> None:
    """Export a student, load the file again and compare outputs.

    The exported network takes batches of any size; a JSON file next to it says how pictures are
    prepared, and has the names of the classes.
    """
    from pbkd.models.export import export as write
    from pbkd.models.student_files import RECIPE, read_recipe, student_folder
    from pbkd.models.user_function import import_function
    from pbkd.pipeline.load import code_of_run, load_with_code
    from pbkd.zoo.store import resolve_student

    folder = resolve_student(run)
    teacher = read_recipe(student_folder(folder) / RECIPE).teacher["name"]
    code = code_of_run(folder, trust or ())
    student = load_with_code(folder, code, import_function(make, ()) if make else None)
    name = re.sub(r"\W", "_" if kind == "pytorch" else "-", f"{teacher}-student", flags=re.ASCII)
    done = write(student, kind, out or Path(name), with_preparation=with_preparation)
    typer.echo(
        f"{done.path}: its outputs differ from the student's by {done.difference:.1e} at most"
    )
    typer.echo(f"beside it: {', '.join(file.name for file in done.files if file != done.path)}")
    if done.note:
        typer.echo(done.note)
