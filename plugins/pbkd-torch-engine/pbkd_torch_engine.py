"""Networks executed by PyTorch as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from pbkd import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

    from pbkd.protocols import Engine

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class TorchEngine:
    """PyTorch, without compilation."""

    name: ClassVar[str] = "torch"
    suffixes: ClassVar[tuple[str, ...]] = (".pt2", ".pt")

    def prepare(
        self,
        network: nn.Module,
        images: Tensor,  # noqa: ARG002
        threads: int,  # noqa: ARG002 - torch has them
    ) -> Callable[[Tensor], Tensor]:
        """Return the network itself."""
        return network

    def read(self, path: Path, threads: int) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """Load a program of `torch.export`, or TorchScript."""
        if path.suffix == ".pt2":
            return torch.export.load(path).module()
        loaded: Callable[[Tensor], Tensor] = torch.jit.load(path)  # type: ignore[no-untyped-call]
        return loaded


@hookimpl
def register_engines() -> list[type[Engine]]:
    """Register the engine `torch`."""
    return [TorchEngine]
