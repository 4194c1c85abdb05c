"""Depthwise-separable replacements, the paper's or decoupled from the teacher's own kernels."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor, nn

from pbkd import hookimpl
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from pbkd.plan import Block
    from pbkd.protocols import BlockBuilder

_FORMS = ("decoupled", "paper")


@dataclass(frozen=True)
class SeparableBuilder:
    """Put a depthwise-separable form in the place of every dense k x k convolution of a block.

    The block's other layers, its strides, shortcut and last activation stay, with the teacher's
    weights, so that outputs and targets have the same range.

    `form="decoupled"`: `rank` depthwise convolutions feed one pointwise convolution, with no
    activation between; initialised by the rank-`rank` SVD of each input channel's kernel slice,
    exact at rank k*k (network decoupling, Guo et al. 2018, arXiv 1808.05517).
    `form="paper"`: depthwise, BatchNorm, ReLU, pointwise, BatchNorm, ReLU, `repeats` times in a
    row, randomly initialised (arXiv 2012.03096); the very last ReLU is the block's own.
    """

    name: ClassVar[str] = "separable"
    form: str = "decoupled"
    rank: int = 1
    repeats: int = 1

    def __post_init__(self) -> None:
        """Raise `ConfigError` for an option out of range."""
        if self.form not in _FORMS:
            raise ConfigError(f"'builder.form' is '{self.form}', but must be decoupled or paper.")
        if self.rank < 1 or self.repeats < 1:
            raise ConfigError("'builder.rank' and 'builder.repeats' must be at least 1.")

    def build(self, segment: nn.Module, block: Block) -> nn.Module | None:  # noqa: ARG002
        """Return a copy of the segment with its dense convolutions replaced, or None without."""
        holder = nn.Sequential(copy.deepcopy(segment))
        dense = [name for name, module in holder.named_modules() if _is_dense(module)]
        for name in dense:
            convolution = holder.get_submodule(name)
            assert isinstance(convolution, nn.Conv2d)
            holder.set_submodule(name, self._cheaper(convolution))
        return holder[0] if dense else None

    def _cheaper(self, convolution: nn.Conv2d) -> nn.Module:
        if self.form == "decoupled":
            return DecoupledConv2d(convolution, self.rank)
        return _paper_form(convolution, self.repeats)


class DecoupledConv2d(nn.Module):
    """`rank` depthwise convolutions side by side, then one pointwise convolution.

    Maps (N, in, H, W) as the dense convolution does from which it is initialised. Separate
    depthwise convolutions are used because one with a channel multiplier has no fast CPU kernel.
    """

    def __init__(self, dense: nn.Conv2d, rank: int) -> None:
        """Decouple `dense`; a rank above its number of taps adds nothing and is lowered to it."""
        super().__init__()
        taps = dense.weight[0, 0].numel()
        rank = min(rank, taps)
        self.depthwise = nn.ModuleList(_depthwise(dense) for _ in range(rank))
        self.pointwise = nn.Conv2d(
            rank * dense.in_channels, dense.out_channels, 1, bias=dense.bias is not None
        )
        with torch.no_grad():
            self._initialise(dense, rank)

    def _initialise(self, dense: nn.Conv2d, rank: int) -> None:
        slices = dense.weight.flatten(2).permute(1, 0, 2)  # (in, out, taps)
        left, scale, right = torch.linalg.svd(slices, full_matrices=False)
        kept = min(rank, scale.shape[1])  # a slice has no more terms than output channels
        root = scale[:, :kept].sqrt()
        self.pointwise.weight.zero_()
        for index in range(kept):
            kernel = right[:, index] * root[:, index : index + 1]
            weight = cast("nn.Conv2d", self.depthwise[index]).weight
            weight.copy_(kernel.view_as(weight))
            columns = (left[:, :, index] * root[:, index : index + 1]).T
            start = index * dense.in_channels
            self.pointwise.weight[:, start : start + dense.in_channels, 0, 0] = columns
        if dense.bias is not None and self.pointwise.bias is not None:
            self.pointwise.bias.copy_(dense.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the decoupled convolution of `x`."""
        outputs = [depthwise(x) for depthwise in self.depthwise]
        wide = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)
        result: Tensor = self.pointwise(wide)
        return result


def _is_dense(module: nn.Module) -> bool:
    return type(module) is nn.Conv2d and module.groups == 1 and max(module.kernel_size) > 1


def _depthwise(dense: nn.Conv2d) -> nn.Conv2d:
    return nn.Conv2d(
        dense.in_channels,
        dense.in_channels,
        cast("tuple[int, int]", dense.kernel_size),
        stride=cast("tuple[int, int]", dense.stride),
        padding=cast("tuple[int, int]", dense.padding),
        dilation=cast("tuple[int, int]", dense.dilation),
        groups=dense.in_channels,
        padding_mode=dense.padding_mode,
        bias=False,
    )


def _paper_form(dense: nn.Conv2d, repeats: int) -> nn.Sequential:
    """Return the paper's pairs; the first has the dense convolution's stride, the rest have 1."""
    width = dense.out_channels
    kernel = cast("tuple[int, int]", dense.kernel_size)
    layers: list[nn.Module] = []
    for depthwise in (
        _depthwise(dense),
        *(
            nn.Conv2d(width, width, kernel, padding="same", groups=width, bias=False)
            for _ in range(repeats - 1)
        ),
    ):
        layers += [
            depthwise,
            nn.BatchNorm2d(depthwise.out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(depthwise.out_channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers[:-1])


@hookimpl
def register_builders() -> list[type[BlockBuilder]]:
    """Hand over the builder `separable`."""
    return [SeparableBuilder]
