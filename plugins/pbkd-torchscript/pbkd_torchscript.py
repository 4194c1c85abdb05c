"""TorchScript files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from pbkd import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from pbkd.protocols import Exporter, ExportSubject

PBKD_CONTRACT = 2

_BY_THE_WRITER = {"version", "byteorder", ".data/serialization_id"}


@dataclass(frozen=True)
class TorchScriptExporter:
    """Write a traced module for `torch.jit.load`."""

    name: ClassVar[str] = "torchscript"
    suffix: ClassVar[str] = ".pt"

    def write(self, subject: ExportSubject, path: Path) -> tuple[list[Path], None]:
        """Trace the network on the example and write it; return the file."""
        traced = torch.jit.trace(subject.network, subject.example)  # type: ignore[no-untyped-call]
        buffer = io.BytesIO()
        torch.jit.save(traced, buffer)
        _write_without_sources(buffer, path)
        return [path], None

    def read(self, path: Path, subject: ExportSubject) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """Load the module."""
        loaded: Callable[[Tensor], Tensor] = torch.jit.load(path)  # type: ignore[no-untyped-call]
        return loaded


def _write_without_sources(buffer: io.BytesIO, path: Path) -> None:
    """Write an archive without the records that name the files of this machine."""
    buffer.seek(0)
    reader = torch._C.PyTorchFileReader(buffer)
    writer = torch._C.PyTorchFileWriter(str(path))
    for name in reader.get_all_records():
        if not name.endswith(".debug_pkl") and name not in _BY_THE_WRITER:
            content = reader.get_record(name)
            writer.write_record(name, content, len(content))
    writer.write_end_of_file()


@hookimpl
def register_exporters() -> list[type[Exporter]]:
    """Register the exporter `torchscript`."""
    return [TorchScriptExporter]
