"""What an exporter gets: a copy of the student, and images of the run, in the form of its input."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pbkd.errors import ExportError
from pbkd.models.student_input import class_names_of, preparation_of
from pbkd.protocols import ExportImages, ExportSubject

if TYPE_CHECKING:
    from pbkd.data.normalization import Normalization
    from pbkd.data.preparation import Preparation
    from pbkd.protocols import Exporter


__all__ = ["as_pixels", "export_subject", "float_format"]


def float_format(exporter: Exporter) -> str | None:
    """Return the format that one which changes the outputs is compared with; None for others."""
    found: str | None = getattr(exporter, "float_format", None)
    return found


def export_subject(
    student: nn.Module,
    exporter: Exporter,
    images: ExportImages | None,
    *,
    with_preparation: bool,
) -> ExportSubject:
    """Return what an exporter gets; arguments and errors as for `export`."""
    if with_preparation and getattr(exporter, "weights_only", False):
        raise ExportError(
            f"the format '{exporter.name}' has no operations that could prepare images: omit"
            " --with-preparation; the JSON file beside it describes the preparation."
        )
    preparation = preparation_of(student)
    network = copy.deepcopy(student).cpu().eval()
    example = torch.rand(2, *preparation.image_shape, generator=torch.Generator().manual_seed(0))
    if with_preparation:
        network = _FromPixels(network, preparation).eval()
        example = (255 * example).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    subject = ExportSubject(
        network=network,
        preparation=preparation,
        class_names=class_names_of(student),
        example=example,
        input_name="pixels" if with_preparation else "images",
    )
    if float_format(exporter) is None:
        return subject
    if images is None:
        raise ExportError(
            f"the format '{exporter.name}' is fitted to images of the run, which are not at hand:"
            " export from the folder of a run whose data can be loaded, or set the run's exports."
        )
    if with_preparation:
        images = replace(
            images,
            calibration=as_pixels(images.calibration, preparation),
            validation=as_pixels(images.validation, preparation),
        )
    return replace(subject, images=images)


def as_pixels(images: Tensor, preparation: Preparation) -> Tensor:
    """Turn normalised images (B, C, H, W) into uint8 pixels (B, H, W, C).

    Raises:
        ExportError: It is not known how the images were normalised.
    """
    return _normalization(preparation).pixels(images).permute(0, 2, 3, 1).contiguous()


def _normalization(preparation: Preparation) -> Normalization:
    if preparation.normalization is None:
        raise ExportError(
            "the preparation cannot be a part of the export: its run got normalised images, and"
            " it is not known how they were made."
        )
    return preparation.normalization


class _FromPixels(nn.Module):
    """Scales and normalises uint8 pixels (B, H, W, C), and passes them on to a network."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, preparation: Preparation) -> None:
        super().__init__()
        normalization = _normalization(preparation)
        self.network = network
        for name in ("mean", "std"):
            values = torch.tensor(getattr(normalization, name), dtype=torch.float32)
            self.register_buffer(name, values.view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        images = pixels.permute(0, 3, 1, 2).to(torch.float32)
        logits: Tensor = self.network((images / 255 - self.mean) / self.std)
        return logits
