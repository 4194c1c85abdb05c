"""OpenVINO files, and networks in OpenVINO."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pbkd_onnx import write_onnx

from pbkd import hookimpl
from pbkd.errors import ConfigError, ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from pbkd.protocols import Engine, Exporter, ExportSubject

PBKD_CONTRACT = 2

_RUNTIME, _CONVERTER = "openvino._ov_api", "openvino.tools.ovc"


@dataclass(frozen=True)
class OpenVinoExporter:
    """Write OpenVINO's intermediate representation: an `.xml`, and its weights in a `.bin`."""

    name: ClassVar[str] = "openvino"
    suffix: ClassVar[str] = ".xml"

    def write(self, subject: ExportSubject, path: Path) -> tuple[list[Path], None]:
        """Write the network with a batch of any size.

        Raises:
            ExportError: A package is missing.
        """
        shapes = ({0: torch.export.Dim("batch")},)
        try:
            with TemporaryDirectory() as folder:
                onnx = Path(folder, "network.onnx")
                write_onnx(
                    subject.network,
                    subject.example,
                    onnx,
                    input_names=[subject.input_name],
                    dynamic_shapes=shapes,
                )
                with _openvino() as openvino:
                    model = _core(openvino).read_model(onnx)
                    openvino.save_model(model, path, compress_to_fp16=False)
        except ImportError as error:
            raise ExportError(f"'openvino' {_missing(error)}") from error
        return [path, path.with_suffix(".bin")], None

    def read(self, path: Path, subject: ExportSubject) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """Open the file in OpenVINO, on the CPU.

        Raises:
            ExportError: The package openvino is missing.
        """
        try:
            return _open(path, torch.get_num_threads())
        except ImportError as error:
            raise ExportError(f"'openvino' {_missing(error)}") from error


@dataclass(frozen=True)
class OpenVino:
    """OpenVINO on the CPU, with float32 or, in an int8 file, integers; never bfloat16."""

    name: ClassVar[str] = "openvino"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    suffixes: ClassVar[tuple[str, ...]] = (".xml", ".onnx")

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
            raise ConfigError(f"the engine openvino {_missing(error)}") from error
        return lambda batch: execute(held if batch is images else batch)

    def read(self, path: Path, threads: int) -> Callable[[Tensor], Tensor]:
        """Open an OpenVINO or ONNX file.

        Raises:
            ConfigError: The package is missing.
        """
        try:
            return _open(path, threads)
        except ImportError as error:
            raise ConfigError(f"the engine openvino {_missing(error)}") from error


def _open(path: Path, threads: int) -> Callable[[Tensor], Tensor]:
    """Return a function that passes a batch through a file in OpenVINO, on the CPU."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    with _openvino() as openvino:
        compiled = _core(openvino).compile_model(path, "CPU", settings)
    request = compiled.create_infer_request()

    def run(batch: Tensor) -> Tensor:
        (logits,) = request.infer([batch.contiguous().numpy()]).values()
        return torch.from_numpy(logits.copy())

    return run


@cache
def _core(openvino: Any) -> Any:
    """Return this process's only `Core`: after a second one, a process may crash."""
    return openvino.Core()


@contextmanager
def _openvino() -> Iterator[Any]:
    """Import OpenVINO without its converter, whose import sends a message to Google Analytics."""
    is_first = _RUNTIME not in sys.modules and _CONVERTER not in sys.modules
    if is_first:
        sys.modules[_CONVERTER] = None  # type: ignore[assignment] # its import fails
    try:
        import openvino

        yield openvino
    finally:
        if is_first:
            del sys.modules[_CONVERTER]


def _missing(error: ImportError) -> str:
    return f"needs the package {error.name}: pip install 'pbkd[openvino]'."


@hookimpl
def register_exporters() -> list[type[Exporter]]:
    """Register the exporter `openvino`."""
    return [OpenVinoExporter]


@hookimpl
def register_engines() -> list[type[Engine]]:
    """Register the engine `openvino`."""
    return [OpenVino]
