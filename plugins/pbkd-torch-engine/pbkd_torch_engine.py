"""Networks executed by PyTorch as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pbkd import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from pbkd.protocols import Engine

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class TorchEngine:
    """PyTorch, without compilation."""

    name: ClassVar[str] = "torch"

    def prepare(
        self,
        network: nn.Module,
        images: Tensor,  # noqa: ARG002
        threads: int,  # noqa: ARG002 - torch has them
    ) -> Callable[[Tensor], Tensor]:
        """Return the network itself."""
        return network


@hookimpl
def register_engines() -> list[type[Engine]]:
    """Register the engine `torch`."""
    return [TorchEngine]
