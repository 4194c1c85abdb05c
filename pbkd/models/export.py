"""Export of students to other formats; each file is loaded again and compared."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pbkd.core.files import write_json
from pbkd.data.preparation_file import preparation_tree
from pbkd.errors import ExportError, did_you_mean
from pbkd.models.weights import fit_weights, read_weights, write_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

    from pbkd.models.student_files import Recipe


__all__ = ["FORMATS", "Exported", "export"]

_TOLERANCE = 1e-4
"""Maximum difference, as a share of the largest logit: runtimes order sums differently."""


@dataclass(frozen=True)
class Exported:
    """An exported file.

    Attributes:
        path: The file.
        difference: The largest difference from the student's logits, over batches of 1 and 5.
    """

    path: Path
    difference: float


@dataclass(frozen=True)
class _Format:
    suffix: str
    write: Callable[[nn.Module, Tensor, Path], None]
    read: Callable[[Path, nn.Module], Callable[[Tensor], Tensor]]


def export(student: nn.Module, recipe: Recipe, kind: str, out: Path) -> Exported:
    """Export a student, load the file again and compare their outputs.

    The exported network takes normalised images of any batch size; a JSON file beside it has the
    shape of an image and its normalisation.

    Args:
        student: The student.
        recipe: Its recipe.
        kind: A key of `FORMATS`.
        out: The path, without the format's suffix.

    Returns:
        The file and the difference of its outputs.

    Raises:
        ExportError: If the format is unknown, a package is missing, or the outputs differ.
    """
    if kind not in FORMATS:
        raise ExportError(f"unknown format '{kind}'.{did_you_mean(kind, FORMATS)}")
    form = FORMATS[kind]
    path = out.with_name(out.name + form.suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    example = torch.rand(2, *recipe.image_shape, generator=torch.Generator().manual_seed(0))
    try:
        form.write(student.eval(), example, path)
        difference = _difference(student, form.read(path, student), recipe.image_shape)
    except ImportError as error:
        raise ExportError(
            f"'{kind}' needs the package {error.name}: pip install 'pbkd[export]'."
        ) from error
    about = {
        "preparation": preparation_tree(recipe.preparation),
        "class_names": recipe.class_names,
    }
    write_json(path.with_name(path.name + ".json"), about)
    return Exported(path, difference)


@torch.no_grad()
def _difference(
    student: nn.Module, loaded: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> float:
    """Compare the loaded network with the student; raise `ExportError` if they differ."""
    worst = 0.0
    for batch in (1, 5):
        images = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(batch))
        expected = student(images)
        worst = max(worst, float((loaded(images) - expected).abs().max()))
        if not worst <= _TOLERANCE * float(expected.abs().max()):
            raise ExportError(
                f"what was written gives other outputs than the student, by {worst:.2g} of"
                f" {float(expected.abs().max()):.2g}: it is not to be used."
            )
    return worst


def _write_safetensors(student: nn.Module, _example: Tensor, path: Path) -> None:
    write_weights(path, student.state_dict())


def _read_safetensors(path: Path, student: nn.Module) -> nn.Module:
    loaded = copy.deepcopy(student)
    fit_weights(loaded, read_weights(path), path)
    return loaded


def _write_onnx(student: nn.Module, example: Tensor, path: Path) -> None:
    import onnxscript  # noqa: F401 - torch says less clearly that it is missing

    torch.onnx.export(
        student,
        (example,),
        path,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _read_onnx(path: Path, _student: nn.Module) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _write_export(student: nn.Module, example: Tensor, path: Path) -> None:
    shapes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(student, (example,), dynamic_shapes=shapes), path)


def _read_export(path: Path, _student: nn.Module) -> nn.Module:
    return torch.export.load(path).module()


def _write_script(student: nn.Module, example: Tensor, path: Path) -> None:
    traced = torch.jit.trace(student, example)  # type: ignore[no-untyped-call]
    traced.save(path)


def _read_script(path: Path, _student: nn.Module) -> nn.Module:
    loaded: nn.Module = torch.jit.load(path)  # type: ignore[no-untyped-call]
    return loaded


FORMATS = {
    "safetensors": _Format(".safetensors", _write_safetensors, _read_safetensors),
    "onnx": _Format(".onnx", _write_onnx, _read_onnx),
    "torch-export": _Format(".pt2", _write_export, _read_export),
    "torchscript": _Format(".pt", _write_script, _read_script),
}
