"""TorchScript files."""

from __future__ import annotations

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


@dataclass(frozen=True)
class TorchScriptExporter:
    """Write a traced module for `torch.jit.load`."""

    name: ClassVar[str] = "torchscript"
    suffix: ClassVar[str] = ".pt"

    def write(self, subject: ExportSubject, path: Path) -> tuple[list[Path], None]:
        """Trace the network on the example and write it; return the file."""
        traced = torch.jit.trace(subject.network, subject.example)  # type: ignore[no-untyped-call]
        traced.save(path)
        return [path], None

    def read(self, path: Path, subject: ExportSubject) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """Load the module."""
        loaded: Callable[[Tensor], Tensor] = torch.jit.load(path)  # type: ignore[no-untyped-call]
        return loaded


@hookimpl
def register_exporters() -> list[type[Exporter]]:
    """Register the exporter `torchscript`."""
    return [TorchScriptExporter]
