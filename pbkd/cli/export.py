"""`pbkd export`: a student as a file that needs no pbkd."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pbkd.cli.arguments import Trust, read_options
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from pbkd.models.export import Exported
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Exporter

Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="onnx, onnx-int8, torch-export, torchscript, safetensors, or pytorch: code; or a"
        " plugin's.",
        show_default="onnx",
    ),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        help="An option of the format, such as opset=20. Can be repeated.",
        metavar="KEY=VALUE",
    ),
]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        help="Load a plugin (name of an installed plugin, module, or .py file); without --format,"
        " use its exporter. Can be repeated.",
    ),
]


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run or a student, or a student's name.")],
    kind: Format = None,
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
    option: Options = None,
    plugin: Plugins = None,
    trust: Trust = None,
) -> None:
    """Export a student, load the file again and compare outputs.

    The exported network takes batches of any size; a JSON file next to it says how pictures are
    prepared, and has the names of the classes. A format that changes the outputs, such as
    onnx-int8, is fitted to images of the run's data, and measured on its test images beside the
    teacher's and the student's own export; the figures go into the run's result and model card.
    """
    from pbkd.models.export import create_exporter, export_name
    from pbkd.models.student_files import RECIPE, read_recipe, student_folder
    from pbkd.models.user_function import import_function
    from pbkd.pipeline.load import code_of_run, load_with_code
    from pbkd.plugin.registry import build_registry
    from pbkd.zoo.store import resolve_student

    registry = build_registry(plugin or ())
    kind = kind or _provided(registry, plugin or ()) or "onnx"
    exporter = create_exporter(registry, kind, read_options(option or ()))
    folder = resolve_student(run)
    teacher = read_recipe(student_folder(folder) / RECIPE).teacher["name"]
    code = code_of_run(folder, trust or ())
    student = load_with_code(folder, code, import_function(make, ()) if make else None)
    out = out or Path(export_name(exporter, teacher))
    done = _written(folder, student, exporter, out, with_preparation, trust or ())
    typer.echo(f"{done.path}: {done.likeness}")
    typer.echo(f"beside it: {', '.join(file.name for file in done.files if file != done.path)}")
    if done.note:
        typer.echo(done.note)


def _written(
    folder: Path,
    student: nn.Module,
    exporter: Exporter,
    out: Path,
    with_preparation: bool,
    trust: Sequence[Path],
) -> Exported:
    """Write a student; measure a format that changes the outputs, and record the figures."""
    from pbkd.models.export import export as write
    from pbkd.models.export_subject import float_format
    from pbkd.pipeline.exports import export_beside
    from pbkd.pipeline.finished_networks import finished_networks
    from pbkd.report.console.display import open_console, show_exports
    from pbkd.report.run_files import add_exports
    from pbkd.runs.folder import is_finished

    if not (float_format(exporter) and is_finished(folder)):
        return write(student, exporter, out, with_preparation=with_preparation)
    networks = finished_networks(folder, student, with_preparation=with_preparation, trust=trust)
    done, exports = export_beside(networks, exporter, out)
    show_exports(add_exports(folder, exports), open_console())
    return done


def _provided(registry: Registry, plugins: Sequence[str]) -> str | None:
    """Return the only exporter of the plugins that `--plugin` names; None without plugins.

    Raises:
        ConfigError: They have several exporters, or none.
    """
    if not plugins:
        return None
    names = [name for spec in plugins for name in registry.provided_by(spec).get("exporter", ())]
    if len(names) != 1:
        known = f"the exporters {', '.join(names)}" if names else "no exporter"
        raise ConfigError(f"--plugin {', '.join(plugins)} has {known}: choose one with --format.")
    return names[0]
