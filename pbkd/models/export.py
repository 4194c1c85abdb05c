"""Export of students to other formats; each file is loaded again and compared."""

from __future__ import annotations

import copy
import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pbkd.core.files import flush_to_disk, user_path, write_json
from pbkd.core.torch_modes import ordinary_modes
from pbkd.data.preparation_file import preparation_tree
from pbkd.data.preparation_steps import preparation_steps
from pbkd.errors import ConfigError, ExportError
from pbkd.models.export_check import call_write, largest_difference, probes, without_weights
from pbkd.models.student_input import class_names_of, preparation_of
from pbkd.plugin.attribution import describe_strategy
from pbkd.protocols import ExportSubject

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pbkd.data.preparation import Preparation
    from pbkd.models.export_check import Probe
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Exporter


__all__ = ["Exported", "create_exporter", "export"]


@dataclass(frozen=True)
class Exported:
    """An exported student.

    Attributes:
        path: The file.
        difference: The largest difference from the student's logits, over batches of 1 and 5.
        files: All files: `path`, what belongs to it, and the JSON file that describes it.
        note: What is missing, a sentence; None if nothing is.
    """

    path: Path
    difference: float
    files: tuple[Path, ...]
    note: str | None = None


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
    student: nn.Module, exporter: Exporter, out: Path, *, with_preparation: bool = False
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
        subject = _subject(student, with_preparation=with_preparation)
        if with_preparation and getattr(exporter, "weights_only", False):
            raise ExportError(
                f"the format '{exporter.name}' has no operations that could prepare images: omit"
                " --with-preparation; the JSON file beside it describes the preparation."
            )
        expected, empty = probes(subject), without_weights(subject)
        description = _description(subject, expected[0], with_preparation=with_preparation)
        files, note = call_write(exporter, subject, path)
        difference = largest_difference(exporter, empty, path, expected)
        for file in (*files, path.parent):
            flush_to_disk(file)
        beside = path.with_name(path.name + ".json")
        write_json(beside, description)
    return Exported(path, difference, (*files, beside), note)


def _path(exporter: Exporter, out: Path) -> Path:
    """Return the path with the format's suffix."""
    suffix = exporter.suffix
    if not (suffix.startswith(".") and len(suffix) > 1 and Path(suffix).name == suffix):
        raise ExportError(
            f"{describe_strategy('exporter', exporter)} has the suffix {suffix!r}: it must be one"
            " such as '.onnx'."
        )
    return out if out.suffix == suffix else out.with_name(out.name + suffix)


def _subject(student: nn.Module, *, with_preparation: bool) -> ExportSubject:
    preparation = preparation_of(student)
    network = copy.deepcopy(student).cpu().eval()
    example = torch.rand(2, *preparation.image_shape, generator=torch.Generator().manual_seed(0))
    if with_preparation:
        network = _FromPixels(network, preparation).eval()
        example = (255 * example).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return ExportSubject(
        network=network,
        preparation=preparation,
        class_names=class_names_of(student),
        example=example,
        input_name="pixels" if with_preparation else "images",
    )


class _FromPixels(nn.Module):
    """Scales and normalises uint8 pixels (B, H, W, C), and passes them on to a network."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, preparation: Preparation) -> None:
        super().__init__()
        if preparation.normalization is None:
            raise ExportError(
                "the preparation cannot be a part of the export: its run got normalised images, and"
                " it is not known how they were made."
            )
        self.network = network
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preparation.normalization, name), dtype=torch.float32)
            self.register_buffer(name, values.view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        images = pixels.permute(0, 3, 1, 2).to(torch.float32)
        logits: Tensor = self.network((images / 255 - self.mean) / self.std)
        return logits


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


def _description(subject: ExportSubject, probe: Probe, *, with_preparation: bool) -> dict[str, Any]:
    """Describe an export for people and programs without pbkd."""
    return {
        "input": {
            "name": subject.input_name,
            "dtype": str(subject.example.dtype).removeprefix("torch."),
            "layout": "NHWC" if with_preparation else "NCHW",
            "shape": ["batch", *subject.example.shape[1:]],
        },
        "output": {"name": "logits", "shape": ["batch", *probe.logits.shape[1:]]},
        "steps": preparation_steps(subject.preparation, from_pixels=with_preparation),
        "preparation": preparation_tree(subject.preparation),
        "class_names": subject.class_names,
    }
