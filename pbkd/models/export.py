"""Export of students to other formats; each file is loaded again and compared."""

from __future__ import annotations

import copy
import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pbkd.core.files import flush_to_disk, user_path, write_json
from pbkd.core.torch_modes import ordinary_modes
from pbkd.data.preparation_file import preparation_tree
from pbkd.data.preparation_steps import preparation_steps
from pbkd.errors import ExportError, PbkdError, did_you_mean, first_line
from pbkd.models.export_formats import FORMATS, Subject
from pbkd.models.student_input import class_names_of, preparation_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pbkd.data.preparation import Preparation
    from pbkd.models.export_formats import Format


__all__ = ["Exported", "export"]

_TOLERANCE = 1e-4
"""Maximum difference, as a share of the largest logit: runtimes order sums differently."""


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


@ordinary_modes()
def export(student: nn.Module, kind: str, out: Path, *, with_preparation: bool = False) -> Exported:
    """Export a student, load the file again and compare their outputs.

    The exported network takes batches of any size. A JSON file beside it says how pictures are
    prepared, and has the names of the classes.

    Args:
        student: What `pbkd.load` or `pbkd.compress` returned; it stays unchanged.
        kind: A key of `FORMATS`.
        out: The path, with or without the format's suffix.
        with_preparation: Whether the network takes uint8 pixels (batch, height, width, channels)
            of the right size, and itself scales and normalises them.

    Returns:
        The files and the difference of the outputs.

    Raises:
        ExportError: If the format is unknown or cannot hold the student, a package is missing, or
            the outputs differ.
        ConfigError: If it is not known how the student's images are prepared.
    """
    if kind not in FORMATS:
        raise ExportError(f"unknown format '{kind}'.{did_you_mean(kind, FORMATS)}")
    form, out = FORMATS[kind], user_path(out)
    path = out if out.suffix == form.suffix else out.with_name(out.name + form.suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    with ordinary_modes(), torch.no_grad(), _silenced():
        subject = _subject(student, with_preparation=with_preparation)
        if with_preparation and not form.is_program:
            raise ExportError(
                f"the format '{kind}' has no operations that could prepare images; its code has the"
                " function prepare."
            )
        files, note = _written(form, kind, subject, path)
        try:
            difference = _difference(subject, form.read(path, subject))
        except ImportError as error:
            raise _missing(kind, error) from error
        for file in (*files, path.parent):
            flush_to_disk(file)
        beside = path.with_name(path.name + ".json")
        write_json(beside, _description(subject, with_preparation=with_preparation))
    return Exported(path, difference, (*files, beside), note)


def _subject(student: nn.Module, *, with_preparation: bool) -> Subject:
    preparation = preparation_of(student)
    network = copy.deepcopy(student).cpu().eval()
    example = torch.rand(2, *preparation.image_shape, generator=torch.Generator().manual_seed(0))
    if with_preparation:
        network = _FromPixels(network, preparation).eval()
        example = (255 * example).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return Subject(
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


def _written(
    form: Format, kind: str, subject: Subject, path: Path
) -> tuple[list[Path], str | None]:
    try:
        return form.write(subject, path)
    except ImportError as error:
        raise _missing(kind, error) from error
    except PbkdError:
        raise
    except Exception as error:  # the exporters fail with types of their own
        raise ExportError(
            f"the student cannot be written as '{kind}' ({first_line(error).rstrip('.')}): choose"
            f" another format, such as {'torchscript' if kind != 'torchscript' else 'onnx'}."
        ) from error


def _missing(kind: str, error: ImportError) -> ExportError:
    return ExportError(f"'{kind}' needs the package {error.name}: pip install 'pbkd[export]'.")


def _difference(subject: Subject, loaded: Callable[[Tensor], Tensor]) -> float:
    """Compare the loaded network with the student; raise `ExportError` if they differ."""
    worst = 0.0
    for batch in (1, 5):
        generator = torch.Generator().manual_seed(batch)
        images = torch.randn(batch, *subject.example.shape[1:], generator=generator)
        if subject.example.dtype == torch.uint8:
            images = (80 * images + 128).clamp(0, 255).to(torch.uint8)
        expected = subject.network(images)
        worst = max(worst, float((loaded(images) - expected).abs().max()))
        if not worst <= _TOLERANCE * float(expected.abs().max()):
            raise ExportError(
                f"what was written gives other outputs than the student, by {worst:.2g} of"
                f" {float(expected.abs().max()):.2g}: it is not to be used."
            )
    return worst


def _description(subject: Subject, *, with_preparation: bool) -> dict[str, Any]:
    """Describe an export for people and programs without pbkd."""
    logits = subject.network(subject.example)
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
