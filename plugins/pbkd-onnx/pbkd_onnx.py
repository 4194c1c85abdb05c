"""ONNX files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from pbkd import hookimpl
from pbkd.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from pbkd.protocols import Exporter, ExportSubject

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class OnnxExporter:
    """Write ONNX with `torch.onnx`, for ONNX Runtime and other runtimes.

    Args:
        opset: Version of the ONNX operators; None for torch's default.
    """

    name: ClassVar[str] = "onnx"
    suffix: ClassVar[str] = ".onnx"
    opset: int | None = None

    def write(self, subject: ExportSubject, path: Path) -> tuple[list[Path], None]:
        """Write the network with a batch of any size.

        Args:
            subject: The network.
            path: The file.

        Returns:
            The file.

        Raises:
            ExportError: The package onnxscript is missing.
        """
        try:
            import onnxscript  # noqa: F401 - torch says less clearly that it is missing
        except ImportError as error:
            raise _missing(error) from error
        torch.onnx.export(
            subject.network,
            (subject.example,),
            path,
            input_names=[subject.input_name],
            output_names=["logits"],
            opset_version=self.opset,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        return [path], None

    def read(self, path: Path, subject: ExportSubject) -> Callable[[Tensor], Tensor]:
        """Open the file in ONNX Runtime, on the CPU.

        Raises:
            ExportError: The package onnxruntime is missing.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise _missing(error) from error
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        name = subject.input_name
        return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])


def _missing(error: ImportError) -> ExportError:
    return ExportError(f"'onnx' needs the package {error.name}: pip install 'pbkd[export]'.")


@hookimpl
def register_exporters() -> list[type[Exporter]]:
    """Register the exporter `onnx`."""
    return [OnnxExporter]
