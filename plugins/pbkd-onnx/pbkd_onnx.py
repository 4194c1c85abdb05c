"""ONNX files, and networks in ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from pbkd import hookimpl
from pbkd.errors import ConfigError, ExportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from pbkd.protocols import Engine, Exporter, ExportSubject

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
            _write(
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

    def read(self, path: Path, subject: ExportSubject) -> Callable[[Tensor], Tensor]:
        """Open the file in ONNX Runtime, on the CPU.

        Raises:
            ExportError: The package onnxruntime is missing.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise ExportError(f"'onnx' {_missing(error)}") from error
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        name = subject.input_name
        return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])


@dataclass(frozen=True)
class OnnxRuntime:
    """ONNX Runtime on the CPU, with its default optimisations."""

    name: ClassVar[str] = "onnxruntime"

    def prepare(
        self, network: nn.Module, images: Tensor, threads: int
    ) -> Callable[[Tensor], Tensor]:
        """Write the network as ONNX for batches of this size, and open it.

        Raises:
            ConfigError: A package is missing, or the network is on another device.
        """
        if images.device.type != "cpu":
            raise ConfigError(
                f"target.engine=onnxruntime measures on the CPU, but the run is on {images.device}:"
                " set device=cpu, or target.engine=torch."
            )
        try:
            import onnxruntime

            given = images.contiguous()
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
            with TemporaryDirectory() as folder:
                path = Path(folder, "network.onnx")
                _write(network, given, path, input_names=["images"])
                providers = ["CPUExecutionProvider"]
                session = onnxruntime.InferenceSession(path, options, providers=providers)
        except ImportError as error:
            raise ConfigError(f"target.engine=onnxruntime {_missing(error)}") from error
        held = given.numpy()

        def run(batch: Tensor) -> Tensor:
            array = held if batch is images else batch.contiguous().numpy()
            return torch.from_numpy(session.run(None, {"images": array})[0])

        return run


def _write(network: nn.Module, example: Tensor, path: Path, **options: Any) -> None:
    import onnxscript  # noqa: F401 - torch says less clearly that it is missing

    torch.onnx.export(
        network,
        (example,),
        path,
        output_names=["logits"],
        dynamo=True,
        external_data=False,
        verbose=False,
        **options,
    )


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
