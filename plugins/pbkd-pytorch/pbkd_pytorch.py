"""Readable PyTorch code, with weights as safetensors or as torch saves them."""

from __future__ import annotations

import re
import runpy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from pbkd import hookimpl
from pbkd.errors import ExportError
from pbkd.models import fit_weights, generate_code, read_weights, write_code, write_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from pbkd.protocols import Exporter, ExportSubject

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class PyTorchExporter:
    """Write PyTorch code that needs torch alone, and its weights beside it."""

    name: ClassVar[str] = "pytorch"
    suffix: ClassVar[str] = ".py"
    weights_only: ClassVar[bool] = True

    def write(self, subject: ExportSubject, path: Path) -> tuple[list[Path], None]:
        """Write the network as code.

        Args:
            subject: The network.
            path: The file of the code.

        Returns:
            The files of the code and of its weights.

        Raises:
            ExportError: It cannot be written as code, or `path` is a program of the user's.
        """
        weights = path.with_suffix(".pth")
        code = generate_code(subject, weights.name)
        write_code(path, code)
        torch.save(code.weights, weights)
        return [path, weights], None

    def read(self, path: Path, subject: ExportSubject) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """Run the code."""
        return _run(path)


@dataclass(frozen=True)
class SafetensorsExporter:
    """Write weights as safetensors, and beside them PyTorch code if there can be some."""

    name: ClassVar[str] = "safetensors"
    suffix: ClassVar[str] = ".safetensors"
    weights_only: ClassVar[bool] = True

    def write(self, subject: ExportSubject, path: Path) -> tuple[list[Path], str | None]:
        """Write the weights.

        Args:
            subject: The network.
            path: The file of the weights.

        Returns:
            The files, and a remark if there is no code.

        Raises:
            ExportError: A program of the user's is where the code would be.
        """
        try:
            code = generate_code(subject, path.name)
        except ExportError as error:
            write_weights(path, subject.network.state_dict())
            return [path], f"It holds weights alone: {error}"
        write_code(_code_beside(path), code)
        write_weights(path, code.weights)
        return [path, _code_beside(path)], None

    def read(self, path: Path, subject: ExportSubject) -> Callable[[Tensor], Tensor]:
        """Run the code, or load the weights into the network if there is none."""
        weights = read_weights(path)
        if set(weights) != set(subject.network.state_dict()):
            return _run(_code_beside(path))
        fit_weights(subject.network, weights, path)
        return subject.network


def _code_beside(path: Path) -> Path:
    """Return the path of the code for a file of weights; a program can import it by its name."""
    return path.with_name(re.sub(r"\W", "_", path.stem, flags=re.ASCII) + ".py")


def _run(path: Path) -> Callable[[Tensor], Tensor]:
    """Run code as a script, which leaves no bytecode beside the file."""
    network: Callable[[Tensor], Tensor] = runpy.run_path(str(path))["load"]()
    return network


@hookimpl
def register_exporters() -> list[type[Exporter]]:
    """Register the exporters `pytorch` and `safetensors`."""
    return [PyTorchExporter, SafetensorsExporter]
