"""Programs of torch.export."""

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
class TorchExporter:
    """Write a program for `torch.export.load`."""

    name: ClassVar[str] = "torch-export"
    suffix: ClassVar[str] = ".pt2"

    def write(self, subject: ExportSubject, path: Path) -> tuple[list[Path], None]:
        """Write the network with a batch of any size; return the file."""
        shapes = ({0: torch.export.Dim("batch")},)
        program = torch.export.export(subject.network, (subject.example,), dynamic_shapes=shapes)
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # it names files of this machine
        torch.export.save(program, path)
        return [path], None

    def read(self, path: Path, subject: ExportSubject) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """Load the program."""
        return torch.export.load(path).module()


@hookimpl
def register_exporters() -> list[type[Exporter]]:
    """Register the exporter `torch-export`."""
    return [TorchExporter]
