"""Ghost convolutions: some of the teacher's filters, and cheap depthwise ones for the rest."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from pbkd import dense_convolutions, hookimpl
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd import Block
    from pbkd.protocols import BlockBuilder

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class GhostBuilder:
    """Replace every ungrouped k x k convolution of a block by a ghost convolution.

    A convolution computes one in `ratio` of the channels, and depthwise convolutions of width
    `kernel` compute the others from these (GhostNet, Han et al. 2020, arXiv 1911.11907). The first
    is initialised with the teacher's filters that best explain all others as multiples, the
    depthwise ones with these multiples. The block's other layers keep the teacher's weights. `stem`
    also replaces convolutions of images.
    """

    name: ClassVar[str] = "ghost"
    sizes: ClassVar[Sequence[Mapping[str, int]]] = tuple({"ratio": ratio} for ratio in (2, 8))
    ratio: int = 4
    kernel: int = 3
    stem: bool = False

    def __post_init__(self) -> None:
        """Raise `ConfigError` if an option is out of range."""
        if self.ratio < 2:
            raise ConfigError(f"'builder.ratio' is {self.ratio}, but must be at least 2.")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"'builder.kernel' is {self.kernel}, but must be odd.")

    def build(self, segment: nn.Module, block: Block) -> nn.Module | None:  # noqa: ARG002
        """Copy the segment and replace its dense convolutions.

        Args:
            segment: The teacher's segment, which stays as it is.
            block: The block's name, position and shapes.

        Returns:
            The replacement; None if the segment has no such convolution.
        """
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
    """A ghost convolution with the input and output shapes of a dense convolution."""

    def __init__(self, dense: nn.Conv2d, ratio: int, kernel: int) -> None:
        """Initialise from a dense convolution.

        Args:
            dense: An ungrouped convolution.
            ratio: One in `ratio` of its filters is kept, rounded up.
            kernel: Width of the depthwise kernels.
        """
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
        """Compute all channels, in the order of the dense convolution."""
        primary = self.primary(x)
        ghosts = self.cheap(primary[:, self.source])
        output = torch.cat([primary, ghosts], 1)[:, self.order]
        return output if self.bias is None else output + self.bias[:, None, None]


def _prototypes(weight: Tensor, count: int) -> tuple[list[int], list[int], list[float]]:
    """Choose greedily the `count` filters that best explain all filters as multiples.

    Return their indices; for each filter, the position among them of the one that explains it best,
    and its factor.
    """
    flat = weight.flatten(1).double()
    unit = flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-12)
    explained = (flat @ unit.T).square()  # of the row's filter by the column's
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
    """Register the builder `ghost`."""
    return [GhostBuilder]
