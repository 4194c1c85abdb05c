"""Depthwise-separable replacements: the paper's, or decoupled from the teacher's kernels."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pbkd import dense_convolutions, hookimpl
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd import Block
    from pbkd.protocols import BlockBuilder

PBKD_CONTRACT = 2

_FORMS = ("decoupled", "paper")
_INITS = ("teacher", "kept", "random")


@dataclass(frozen=True, kw_only=True)
class SeparableBuilder:
    """Replace every dense k x k convolution of a block by a depthwise-separable form.

    A grouped convolution gets pointwise convolutions with the same number of groups. The block's
    other layers, its strides, shortcut and last activation stay, with the teacher's weights, so
    that outputs and targets have the same range.

    `form="decoupled"`: `rank` depthwise convolutions feed one pointwise convolution, with no
    activation between; initialised by the rank-`rank` SVD of each input channel's kernel slice,
    exact at rank k*k (network decoupling, Guo et al. 2018, arXiv 1808.05517).
    `form="paper"`: depthwise, BatchNorm, ReLU, pointwise, BatchNorm, ReLU, `repeats` times in a
    row, randomly initialised (arXiv 2012.03096); the last ReLU is the block's own.

    `init` selects the layers that are initialised from the teacher: `teacher` all of them, `kept`
    only the layers that stay, `random` none. `kernel` is the least width of the depthwise kernels,
    which are as wide as the dense convolution's anyway. `residual` adds the input to the output of
    a form if the shapes match. `stem` also replaces convolutions of images.
    """

    name: ClassVar[str] = "separable"
    sizes: ClassVar[Sequence[Mapping[str, int]]] = tuple({"rank": rank} for rank in (2, 3))
    form: str = "decoupled"
    rank: int = 1
    repeats: int = 1
    init: str = "teacher"
    kernel: int = 0
    residual: bool = False
    stem: bool = False

    def __post_init__(self) -> None:
        """Raise `ConfigError` if an option is out of range."""
        if self.form not in _FORMS:
            raise ConfigError(f"'builder.form' is '{self.form}', but must be decoupled or paper.")
        if self.init not in _INITS:
            raise ConfigError(
                f"'builder.init' is '{self.init}', but must be one of {', '.join(_INITS)}."
            )
        if self.rank < 1 or self.repeats < 1:
            raise ConfigError("'builder.rank' and 'builder.repeats' must be at least 1.")
        if self.kernel < 0 or (self.kernel and self.kernel % 2 == 0):
            raise ConfigError(f"'builder.kernel' is {self.kernel}, but must be odd, or 0.")

    def build(self, segment: nn.Module, block: Block) -> nn.Module | None:  # noqa: ARG002
        """Copy the segment and replace its dense convolutions.

        Args:
            segment: The teacher's segment, which stays as it is.
            block: The block's name, position and shapes.

        Returns:
            The replacement; None if the segment has no such convolution.
        """
        holder = nn.Sequential(copy.deepcopy(segment))
        dense = list(dense_convolutions(holder, stem=self.stem))
        if self.init == "random":
            _reset_weights(holder)
        for name, convolution in dense:
            holder.set_submodule(name, self._cheaper(convolution))
        return holder[0] if dense else None

    def _cheaper(self, convolution: nn.Conv2d) -> nn.Module:
        residual = self.residual and _keeps_shape(convolution)
        if self.form == "paper":
            cheaper: nn.Module = _paper_form(convolution, self.repeats, self.kernel)
        elif self.init == "teacher":
            target = _without_identity(convolution) if residual else convolution
            cheaper = DecoupledConv2d(target, self.rank, self.kernel)
        else:
            cheaper = DecoupledConv2d(convolution, self.rank, self.kernel)
            _reset_weights(cheaper)
        return Residual(cheaper) if residual else cheaper


class DecoupledConv2d(nn.Module):
    """Parallel depthwise convolutions, then one pointwise convolution.

    It has the input and output shapes of a dense convolution. The depthwise convolutions are
    separate because one with a channel multiplier has no fast CPU kernel.
    """

    def __init__(self, dense: nn.Conv2d, rank: int, kernel: int = 0) -> None:
        """Decouple a dense convolution.

        Args:
            dense: The convolution to approximate.
            rank: Number of depthwise convolutions; at most the number of kernel elements is used.
            kernel: Width of the depthwise kernels, initially zero outside of the dense kernel; 0
                for the width of the dense kernel.
        """
        super().__init__()
        rank = min(rank, dense.weight[0, 0].numel())
        self.depthwise = nn.ModuleList(_depthwise(dense, kernel) for _ in range(rank))
        self.pointwise = nn.Conv2d(
            rank * dense.in_channels,
            dense.out_channels,
            1,
            groups=dense.groups,
            bias=dense.bias is not None,
        )
        with torch.no_grad():
            self._initialise(dense, rank)

    def _initialise(self, dense: nn.Conv2d, rank: int) -> None:
        groups, (after, before) = dense.groups, dense.weight.shape[:2]
        each = after // groups
        kernels = dense.weight.reshape(groups, each, before, -1).transpose(1, 2)
        slices = kernels.reshape(dense.in_channels, each, -1)  # (in, out of its group, elements)
        left, scale, right = torch.linalg.svd(slices, full_matrices=False)
        kept = min(rank, scale.shape[1])  # a slice has no more terms than output channels
        root = scale[:, :kept].sqrt()
        self.pointwise.weight.zero_()
        for index in range(kept):
            kernel = right[:, index] * root[:, index : index + 1]
            weight = cast("nn.Conv2d", self.depthwise[index]).weight
            height, width = (
                (w - d) // 2 for w, d in zip(weight.shape[2:], dense.kernel_size, strict=True)
            )
            kernel = kernel.view(dense.in_channels, 1, *dense.kernel_size)
            weight.copy_(functional.pad(kernel, (width, width, height, height)))
            columns = (left[:, :, index] * root[:, index : index + 1]).reshape(groups, before, each)
            columns_of = slice(index * before, (index + 1) * before)
            if groups > 1:  # the channels of a group are contiguous
                columns_of = slice(index, None, rank)
            self.pointwise.weight.view(groups, each, -1)[:, :, columns_of] = columns.mT
        if dense.bias is not None and self.pointwise.bias is not None:
            self.pointwise.bias.copy_(dense.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the decoupled convolution."""
        outputs = [depthwise(x) for depthwise in self.depthwise]
        if len(outputs) == 1:
            wide = outputs[0]
        elif self.pointwise.groups == 1:
            wide = torch.cat(outputs, 1)
        else:
            wide = torch.stack(outputs, 2).flatten(1, 2)
        result: Tensor = self.pointwise(wide)
        return result


class Residual(nn.Module):
    """A module in parallel with the identity."""

    def __init__(self, inner: nn.Module) -> None:
        """Wrap a module that keeps the shape of its input."""
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Compute the inner module's output plus its input."""
        output: Tensor = self.inner(x)
        return output + x


def _keeps_shape(dense: nn.Conv2d) -> bool:
    kernel, padding, dilation = dense.kernel_size, dense.padding, dense.dilation
    same = all(
        padding == "same" or 2 * int(padding[side]) == dilation[side] * (kernel[side] - 1)
        for side in (0, 1)
    )
    return dense.in_channels == dense.out_channels and set(dense.stride) == {1} and same


@torch.no_grad()
def _without_identity(dense: nn.Conv2d) -> nn.Conv2d:
    """Return a copy that computes the convolution's output minus its input."""
    rest = copy.deepcopy(dense)
    channels = torch.arange(dense.in_channels)
    within_group = channels % dense.weight.shape[1]
    rest.weight[channels, within_group, dense.kernel_size[0] // 2, dense.kernel_size[1] // 2] -= 1
    return rest


def _reset_weights(module: nn.Module) -> None:
    """Initialise all weights at random, as torch does for new modules."""
    for part in module.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()


def _depthwise(dense: nn.Conv2d, kernel: int = 0) -> nn.Conv2d:
    size = cast("tuple[int, int]", dense.kernel_size)
    padding = dense.padding
    wide = cast("tuple[int, int]", tuple(max(kernel, old) for old in size) if kernel else size)
    if kernel and not isinstance(padding, str):
        added = [new - old for new, old in zip(wide, size, strict=True)]
        wider = [more // 2 * by for more, by in zip(added, dense.dilation, strict=True)]
        padding = tuple(old + more for old, more in zip(padding, wider, strict=True))
    return nn.Conv2d(
        dense.in_channels,
        dense.in_channels,
        wide,
        stride=cast("tuple[int, int]", dense.stride),
        padding=cast("tuple[int, int]", padding),
        dilation=cast("tuple[int, int]", dense.dilation),
        groups=dense.in_channels,
        padding_mode=dense.padding_mode,
        bias=False,
    )


def _paper_form(dense: nn.Conv2d, repeats: int, wider: int) -> nn.Sequential:
    """Build the paper's form; its first depthwise convolution has the dense one's stride."""
    width = dense.out_channels
    first = _depthwise(dense, wider)
    kernel = cast("tuple[int, int]", first.kernel_size)
    layers: list[nn.Module] = []
    for depthwise in (
        first,
        *(
            nn.Conv2d(width, width, kernel, padding="same", groups=width, bias=False)
            for _ in range(repeats - 1)
        ),
    ):
        layers += [
            depthwise,
            nn.BatchNorm2d(depthwise.out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(depthwise.out_channels, width, 1, groups=dense.groups, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers[:-1])


@hookimpl
def register_builders() -> list[type[BlockBuilder]]:
    """Register the builder `separable`."""
    return [SeparableBuilder]
