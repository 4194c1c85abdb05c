"""Conformance tests of exporters."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from zipfile import ZipFile, is_zipfile

import torch

from pbkd.data.normalization import Normalization
from pbkd.data.preparation import Preparation
from pbkd.errors import ExportError
from pbkd.models.export import export
from pbkd.protocols import ExportImages
from pbkd.testing.tiny import tiny_teacher

if TYPE_CHECKING:
    from torch import nn

    from pbkd.protocols import Exporter

__all__ = ["check_exporter"]


def check_exporter(exporter: Exporter, network: nn.Module | None = None) -> None:
    """Check that an exporter writes a network, and that the file gives the same outputs.

    The files may not name the folders of torch or pbkd on this machine, as stack traces do: they
    are published.

    If the exporter has a `float_format`, it gets 64 random images, and the classes that the file
    gives them are compared.

    Unless the exporter is `weights_only`, it is written once more to the same path, with the
    preparation of images inside.

    Args:
        exporter: The exporter.
        network: A network for images of shape (3, 8, 8) (default: `tiny_teacher()`).

    Raises:
        ExportError: If it breaks the contract or cannot write the network, or the outputs differ.
    """
    student = (tiny_teacher() if network is None else network).eval()
    vars(student).update(preparation=_PREPARATION, class_names=None)
    ways = [False] if getattr(exporter, "weights_only", False) else [False, True]
    with TemporaryDirectory() as folder:
        for with_preparation in ways:
            path = Path(folder, "student")
            done = export(
                student, exporter, path, with_preparation=with_preparation, images=_images()
            )
            for file in done.files:
                _check_paths(exporter, file)


def _check_paths(exporter: Exporter, file: Path) -> None:
    """Raise `ExportError` if a file, or a part of a zip archive, names a folder of this machine."""
    parts = [file.read_bytes()]
    if is_zipfile(file):
        with ZipFile(file) as archive:
            parts += map(archive.read, archive.namelist())
    for folder in (str(Path(torch.__file__).parent), str(Path(__file__).parents[1])):
        if any(folder.encode() in part for part in parts):
            raise ExportError(
                f"the exporter '{exporter.name}' writes '{folder}', a folder of this machine, into"
                f" '{file.name}': leave out where in the code operations come from."
            )


_NORMALIZATION = Normalization((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))


def _images() -> ExportImages:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(64, *_PREPARATION.image_shape, generator=generator)
    images = _NORMALIZATION.apply(pixels, "cpu")
    classes = torch.zeros(len(images), dtype=torch.int64)
    return ExportImages(calibration=images, validation=images, classes=classes)


_PREPARATION = Preparation(
    channels=3,
    resize=None,
    interpolation="bilinear",
    height=8,
    width=8,
    normalization=_NORMALIZATION,
)
