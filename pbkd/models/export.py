"""Export of students to other formats; each file is loaded again and compared."""

from __future__ import annotations

import logging
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pbkd.core.files import flush_to_disk, user_path, write_json
from pbkd.core.torch_modes import ordinary_modes
from pbkd.data.preparation_file import preparation_tree
from pbkd.data.preparation_steps import preparation_steps
from pbkd.errors import ConfigError, ExportError
from pbkd.models.export_check import call_write, read_back, without_weights
from pbkd.models.export_comparison import comparison
from pbkd.models.export_subject import export_subject
from pbkd.plugin.attribution import describe_strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor, nn

    from pbkd.models.export_comparison import Likeness
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Exporter, ExportImages, ExportSubject


__all__ = ["Exported", "create_exporter", "export", "export_name"]


@dataclass(frozen=True)
class Exported:
    """An exported student.

    Attributes:
        path: The file.
        likeness: How like the student's its outputs are.
        files: All files: `path`, what belongs to it, and the JSON file that describes it.
        note: What is missing, a sentence; None if nothing is.
        execute: Passes a batch through the file, in its engine.
    """

    path: Path
    likeness: Likeness
    files: tuple[Path, ...]
    note: str | None
    execute: Callable[[Tensor], Tensor] = field(repr=False)

    @property
    def bytes(self) -> int:
        """Size of the files, without the description."""
        return sum(file.stat().st_size for file in self.files[:-1] if file.is_file())


def export_name(exporter: Exporter, teacher: str) -> str:
    """Return the default name of an exported student's file, without suffix."""
    between = "_" if exporter.suffix == ".py" else "-"  # so that the code can be imported
    return re.sub(r"\W", between, f"{teacher}-student", flags=re.ASCII)


def create_exporter(registry: Registry, kind: str, options: Mapping[str, Any]) -> Exporter:
    """Create the exporter of a format.

    Args:
        registry: The plugins.
        kind: The name of the format.
        options: The exporter's options.

    Raises:
        UnknownNameError: If no exporter has that name.
        ConfigError: If an option is unknown or invalid.
    """
    if "name" in options:
        raise ConfigError("'name' is no option of an exporter: it is the name of the format.")
    exporter: Exporter = registry.create("exporter", {"name": kind, **options})
    return exporter


@ordinary_modes()
def export(
    student: nn.Module,
    exporter: Exporter,
    out: Path,
    *,
    with_preparation: bool = False,
    images: ExportImages | None = None,
) -> Exported:
    """Export a student, load the file again and compare their outputs.

    The exported network takes batches of any size. A JSON file beside it says how pictures are
    prepared, and has the names of the classes.

    Args:
        student: What `pbkd.load` or `pbkd.compress` returned; it stays unchanged.
        exporter: The exporter of the format.
        out: The path, with or without the format's suffix.
        with_preparation: Whether the network takes uint8 pixels (batch, height, width, channels)
            of the right size, and itself scales and normalises them.
        images: Images of the run's data, normalised as the student's input; needed by a format that
            changes the outputs.

    Returns:
        The files and the difference of the outputs.

    Raises:
        ExportError: If the format cannot hold the student, the exporter is broken, a package is
            missing, or the outputs differ.
        ConfigError: If it is not known how the student's images are prepared.
    """
    path = _path(exporter, user_path(out))
    path.parent.mkdir(parents=True, exist_ok=True)
    with ordinary_modes(), torch.no_grad(), _silenced():
        subject = export_subject(student, exporter, images, with_preparation=with_preparation)
        compare, empty = comparison(exporter, subject), without_weights(subject)
        description = _description(subject, with_preparation=with_preparation)
        files, note = call_write(exporter, subject, path)
        execute = read_back(exporter, path, empty)
        likeness = compare(execute)
        for file in (*files, path.parent):
            flush_to_disk(file)
        beside = path.with_name(path.name + ".json")
        write_json(beside, description)
    return Exported(path, likeness, (*files, beside), note, execute)


def _path(exporter: Exporter, out: Path) -> Path:
    """Return the path with the format's suffix."""
    suffix = exporter.suffix
    if not (suffix.startswith(".") and len(suffix) > 1 and Path(suffix).name == suffix):
        raise ExportError(
            f"{describe_strategy('exporter', exporter)} has the suffix {suffix!r}: it must be one"
            " such as '.onnx'."
        )
    has_one = out.suffix == suffix[suffix.rindex(".") :]
    return out if has_one else out.with_name(out.name + suffix)


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep back what the exporters of torch log and warn of: it concerns their own code."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _description(subject: ExportSubject, *, with_preparation: bool) -> dict[str, Any]:
    """Describe an export for people and programs without pbkd."""
    logits = subject.network(subject.example.clone())
    return {
        "input": {
            "name": subject.input_name,
            "dtype": str(subject.example.dtype).removeprefix("torch."),
            "layout": "NHWC" if with_preparation else "NCHW",
            "shape": ["batch", *subject.example.shape[1:]],
        },
        "output": {"name": "logits", "shape": ["batch", *logits.shape[1:]]},
        "steps": preparation_steps(subject.preparation, from_pixels=with_preparation),
        "preparation": preparation_tree(subject.preparation),
        "class_names": subject.class_names,
    }
