"""The angle between a replacement's output and its block's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

from pbkd import Loss, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

PBKD_CONTRACT = 1


def error(output: Tensor, target: Tensor) -> Tensor:
    """One minus the cosine between each sample's output and target; blind to scale."""
    return 1 - functional.cosine_similarity(output.flatten(1), target.flatten(1), dim=1).mean()


@hookimpl
def register_losses() -> list[Loss]:
    """Hand over the loss `cosine`."""
    return [Loss("cosine", error)]
