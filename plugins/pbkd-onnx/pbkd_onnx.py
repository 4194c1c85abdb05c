"""ONNX files, and networks in ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from pbkd import hookimpl
from pbkd.errors import ConfigError, ExportError
from pbkd.models import is_rounded, use_integers

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from pbkd.protocols import Engine, Exporter, ExportSubject

PBKD_CONTRACT = 2

_OPSET_OF_INT4 = 21


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
            write_onnx(
                subject.network,
                subject.example,
                path,
                input_names=[subject.input_name],
                opset_version=self.opset,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        except ImportError as error:
            raise ExportError(f"'onnx' {_missing(error)}") from error
        return [path], None

    def read(self, path: Path, subject: ExportSubject) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """Open the file in ONNX Runtime, on the CPU.

        Raises:
            ExportError: The package onnxruntime is missing.
        """
        try:
            return _open(path, torch.get_num_threads())
        except ImportError as error:
            raise ExportError(f"'onnx' {_missing(error)}") from error


@dataclass(frozen=True)
class OnnxRuntime:
    """ONNX Runtime on the CPU, with its default optimisations."""

    name: ClassVar[str] = "onnxruntime"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    suffixes: ClassVar[tuple[str, ...]] = (".onnx",)

    def prepare(
        self, network: nn.Module, images: Tensor, threads: int
    ) -> Callable[[Tensor], Tensor]:
        """Write the network as ONNX for batches of this size, and open it.

        Raises:
            ConfigError: A package is missing.
        """
        held = images.contiguous()
        try:
            with TemporaryDirectory() as folder:
                path = Path(folder, "network.onnx")
                write_onnx(network, held, path, input_names=["images"])
                execute = _open(path, threads)
        except ImportError as error:
            raise ConfigError(f"the engine onnxruntime {_missing(error)}") from error
        return lambda batch: execute(held if batch is images else batch)

    def read(self, path: Path, threads: int) -> Callable[[Tensor], Tensor]:
        """Open an ONNX file.

        Raises:
            ConfigError: The package is missing.
        """
        try:
            return _open(path, threads)
        except ImportError as error:
            raise ConfigError(f"the engine onnxruntime {_missing(error)}") from error


def _open(path: Path, threads: int) -> Callable[[Tensor], Tensor]:
    """Return a function that passes a batch through an ONNX file in ONNX Runtime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(batch: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: batch.contiguous().numpy()})[0])

    return run


def write_onnx(network: nn.Module, example: Tensor, path: Path, **options: Any) -> None:
    """Write a network as ONNX, with the output `logits`.

    Args:
        network: The network, in evaluation mode, on the CPU.
        example: A batch of its input.
        path: The file.
        **options: Further options of `torch.onnx.export`.

    Raises:
        ImportError: A package is missing.
    """
    import onnxscript  # noqa: F401 - torch says less clearly that it is missing

    rounded = is_rounded(network)
    if rounded and options.get("opset_version") is None:
        options["opset_version"] = _OPSET_OF_INT4
    program = torch.onnx.export(
        network,
        (example,),
        output_names=["logits"],
        dynamo=True,
        verbose=False,
        optimize=not rounded,
        **options,
    )
    assert program is not None
    if rounded:
        use_integers(program)
    for node in program.model.graph:  # they name files of this machine, longer than small weights
        node.metadata_props.clear()
    program.save(path, external_data=False)


def _missing(error: ImportError) -> str:
    return f"needs the package {error.name}: pip install 'pbkd[export]'."


@hookimpl
def register_exporters() -> list[type[Exporter]]:
    """Register the exporter `onnx`."""
    return [OnnxExporter]


@hookimpl
def register_engines() -> list[type[Engine]]:
    """Register the engine `onnxruntime`."""
    return [OnnxRuntime]
