"""ExecuTorch files for phones and small devices, with XNNPACK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from pbkd import hookimpl
from pbkd.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn
    from torch.export import ExportedProgram

    from pbkd.protocols import Exporter, ExportSubject

PBKD_CONTRACT = 2

_AT_ONCE = 64


@dataclass(frozen=True)
class ExecuTorchExporter:
    """Write a program for ExecuTorch, whose convolutions and matrix products XNNPACK executes.

    Args:
        most: Maximum images of a batch: ExecuTorch reserves memory for them.
    """

    name: ClassVar[str] = "executorch"
    suffix: ClassVar[str] = ".pte"
    _int8: ClassVar[bool] = False
    most: int = 64

    def write(self, subject: ExportSubject, path: Path) -> tuple[list[Path], str]:
        """Write the network with a batch of up to `most` images.

        Raises:
            ExportError: The package executorch is missing.
        """
        try:
            return _write(subject, path, self.most, int8=self._int8)
        except ImportError as error:
            raise _missing(self.name, error) from error

    def read(self, path: Path, subject: ExportSubject) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """Load the program in ExecuTorch's runtime."""
        return _read(path, self.most)


@dataclass(frozen=True)
class ExecuTorchInt8Exporter(ExecuTorchExporter):
    """Quantise with PT2E, static and per channel, for XNNPACK in ExecuTorch.

    Args:
        most: Maximum images of a batch: ExecuTorch reserves memory for them.
    """

    name: ClassVar[str] = "executorch-int8"
    suffix: ClassVar[str] = ".int8.pte"
    float_format: ClassVar[str] = "executorch"
    _int8: ClassVar[bool] = True


def _write(subject: ExportSubject, path: Path, most: int, *, int8: bool) -> tuple[list[Path], str]:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    # XNNPACK's passes take kernels only in the order of their axes.
    network = subject.network.to(memory_format=torch.contiguous_format)
    shapes = ({0: torch.export.Dim("batch", max=most)},)
    # ExecuTorch 1.5 with torch 2.14 does not see the maximum: it reserves memory for the example.
    example = (subject.example[torch.arange(most) % len(subject.example)],)
    program = torch.export.export(network, example, dynamic_shapes=shapes)
    if int8:
        program = torch.export.export(_quantised(program, subject), example, dynamic_shapes=shapes)
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    with path.open("wb") as file:
        lowered.to_executorch().write_to_file(file)
    return [path], f"It takes batches of up to {most} images: `--option most=N` changes that."


def _quantised(program: ExportedProgram, subject: ExportSubject) -> nn.Module:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    per_channel = get_symmetric_quantization_config(is_per_channel=True)
    prepared = prepare_pt2e(program.module(), XNNPACKQuantizer().set_global(per_channel))
    if subject.images is None:
        raise ExportError("'executorch-int8' needs images of the run's data.")
    images = subject.images.calibration
    for first in range(0, len(images), _AT_ONCE):
        prepared(images[first : first + _AT_ONCE])
    network: nn.Module = convert_pt2e(prepared)
    return network


def _read(path: Path, most: int) -> Callable[[Tensor], Tensor]:
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(path).load_method("forward")

    def run(batch: Tensor) -> Tensor:
        # A clone, since ExecuTorch reads the strides of axes of one element, too.
        images = batch.clone(memory_format=torch.contiguous_format)
        parts = (images[first : first + most] for first in range(0, len(images), most))
        return torch.cat([method.execute([part])[0].clone() for part in parts])

    return run


def _missing(name: str, error: ImportError) -> ExportError:
    package = (error.name or "").partition(".")[0]
    return ExportError(f"'{name}' needs the package {package}: pip install 'pbkd[executorch]'.")


@hookimpl
def register_exporters() -> list[type[Exporter]]:
    """Register the exporters `executorch` and `executorch-int8`."""
    return [ExecuTorchExporter, ExecuTorchInt8Exporter]
