"""Tucker-2 replacements: channels in, a small core, channels out; ranks by kept energy."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from pbkd import Built, dense_convolutions, hookimpl

if TYPE_CHECKING:
    from pbkd import Block

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class TuckerEnergyBuilder:
    """Replace dense convolutions by 1x1, k x k and 1x1 convolutions (Kim et al. 2016).

    Args:
        energy: Share of the squared singular values of each unfolding that is kept.
        ranks: Input and output ranks of every convolution in order, flat; set by the builder.
    """

    name: ClassVar[str] = "tucker-energy"
    energy: float = 0.7
    ranks: tuple[int, ...] = ()

    def build(self, segment: nn.Module, block: Block) -> Built | None:  # noqa: ARG002
        """Decompose the kernels by higher-order SVD."""
        holder = nn.Sequential(copy.deepcopy(segment))
        dense = [
            (name, layer)
            for name, layer in dense_convolutions(holder)
            if min(layer.kernel_size) > 1 and layer.groups == 1
        ]
        if not dense:
            return None
        resolved: list[int] = []
        for index, (name, layer) in enumerate(dense):
            given = self.ranks[2 * index : 2 * index + 2]
            pair = given or (self._rank(layer, 1), self._rank(layer, 0))
            holder.set_submodule(name, _decompose(layer, *pair))
            resolved += pair
        return Built(holder[0], {"ranks": resolved})

    def _rank(self, layer: nn.Conv2d, axis: int) -> int:
        kernel = layer.weight.detach().transpose(0, axis).flatten(1)
        energies = torch.linalg.svdvals(kernel).square()
        kept = energies.cumsum(0) / energies.sum()
        return int((kept < self.energy).sum()) + 1


def _decompose(layer: nn.Conv2d, inner: int, outer: int) -> nn.Sequential:
    kernel = layer.weight.detach()
    left = torch.linalg.svd(kernel.flatten(1))[0][:, :outer]
    right = torch.linalg.svd(kernel.transpose(0, 1).flatten(1))[0][:, :inner]
    core = torch.einsum("oihw,or,is->rshw", kernel, left, right)
    shape = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    thin = nn.Conv2d(layer.in_channels, inner, 1, bias=False)
    middle = nn.Conv2d(inner, outer, layer.kernel_size, bias=False, **shape)  # type: ignore[arg-type]
    wide = nn.Conv2d(outer, layer.out_channels, 1, bias=layer.bias is not None)
    with torch.no_grad():
        thin.weight.copy_(right.T[:, :, None, None])
        middle.weight.copy_(core)
        wide.weight.copy_(left[:, :, None, None])
        if layer.bias is not None and wide.bias is not None:
            wide.bias.copy_(layer.bias)
    return nn.Sequential(thin, middle, wide)


@hookimpl
def register_builders() -> list[type[TuckerEnergyBuilder]]:
    """Register the builder `tucker-energy`."""
    return [TuckerEnergyBuilder]
