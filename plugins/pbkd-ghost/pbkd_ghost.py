"""Ghost convolutions: some channels by the teacher's own filters, the others made of those."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from pbkd import dense_convolutions, hookimpl
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from pbkd import Block
    from pbkd.protocols import BlockBuilder

PBKD_CONTRACT = 1


@dataclass(frozen=True)
class GhostBuilder:
    """Put a ghost convolution in the place of every ungrouped k x k convolution of a block.

    A convolution gives one in `ratio` of the channels, and depthwise ones of width `kernel` make
    the others from these (GhostNet, Han et al. 2020, arXiv 1911.11907). The first starts as those
    of the teacher's filters that all others are nearest to a multiple of; each depthwise one starts
    as that multiple. The block's other layers stay, with the teacher's weights. `stem` replaces
    convolutions of images too.
    """

    name: ClassVar[str] = "ghost"
    ratio: int = 4
    kernel: int = 3
    stem: bool = False

    def __post_init__(self) -> None:
        """Raise `ConfigError` for an option out of range."""
        if self.ratio < 2:
            raise ConfigError(f"'builder.ratio' is {self.ratio}, but must be at least 2.")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"'builder.kernel' is {self.kernel}, but must be odd.")

    def build(self, segment: nn.Module, block: Block) -> nn.Module | None:  # noqa: ARG002
        """Return a copy of the segment with its dense convolutions replaced, or None without."""
        holder = nn.Sequential(copy.deepcopy(segment))
        dense = [
            (name, convolution)
            for name, convolution in dense_convolutions(holder, stem=self.stem)
            if convolution.groups == 1 and convolution.out_channels >= self.ratio
        ]
        for name, convolution in dense:
            holder.set_submodule(name, GhostConv2d(convolution, self.ratio, self.kernel))
        return holder[0] if dense else None


class GhostConv2d(nn.Module):
    """Maps (N, in, H, W) as the dense convolution does from which it is initialised."""

    def __init__(self, dense: nn.Conv2d, ratio: int, kernel: int) -> None:
        """Keep one in `ratio` of the filters of `dense`, rounded up."""
        super().__init__()
        kept, source, factor = _prototypes(dense.weight.detach(), -(-dense.out_channels // ratio))
        padding: Any = dense.padding
        self.primary = nn.Conv2d(
            dense.in_channels,
            len(kept),
            cast("tuple[int, int]", dense.kernel_size),
            cast("tuple[int, int]", dense.stride),
            padding,
            cast("tuple[int, int]", dense.dilation),
            bias=False,
            padding_mode=dense.padding_mode,
        )
        ghosts = dense.out_channels - len(kept)
        self.cheap = nn.Conv2d(
            ghosts, ghosts, kernel, padding=kernel // 2, groups=ghosts, bias=False
        )
        others = [channel for channel in range(dense.out_channels) if channel not in kept]
        self.register_buffer("source", torch.tensor([source[channel] for channel in others]))
        self.register_buffer("order", torch.tensor([*kept, *others]).argsort())
        self.bias = nn.Parameter(dense.bias.detach().clone()) if dense.bias is not None else None
        with torch.no_grad():
            self.primary.weight.copy_(dense.weight[list(kept)])
            self.cheap.weight.zero_()
            middle = kernel // 2
            self.cheap.weight[:, 0, middle, middle] = torch.tensor([factor[c] for c in others])

    source: Tensor
    order: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return all channels, in the order of the dense convolution's."""
        some = self.primary(x)
        both = torch.cat([some, self.cheap(some[:, self.source])], 1)[:, self.order]
        return both if self.bias is None else both + self.bias[:, None, None]


def _prototypes(weight: Tensor, count: int) -> tuple[list[int], list[int], list[float]]:
    """Choose `count` filters, greedily, that leave the least of all filters unexplained.

    Returns them, and for each filter the place among them of the one that explains it best, and
    the factor.
    """
    flat = weight.flatten(1).double()
    unit = flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-12)
    explained = (flat @ unit.T).square()  # by the filter of each column
    kept: list[int] = []
    best = torch.zeros(len(flat), dtype=flat.dtype)
    for _ in range(count):
        gain = (explained - best[:, None]).clamp_min(0).sum(0)
        gain[kept] = -1
        kept.append(int(gain.argmax()))
        best = torch.maximum(best, explained[:, kept[-1]])
    kept.sort()
    source = explained[:, kept].argmax(1)
    norms = flat[kept].norm(dim=1).clamp_min(1e-12)
    factor = (flat * unit[kept][source]).sum(1) / norms[source]
    return kept, source.tolist(), factor.tolist()


@hookimpl
def register_builders() -> list[type[BlockBuilder]]:
    """Hand over the builder `ghost`."""
    return [GhostBuilder]
