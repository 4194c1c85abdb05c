"""Low-rank replacements: a vertical, then a horizontal convolution, from the teacher's kernels."""

from __future__ import annotations

import copy
import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from pbkd import Built, dense_convolutions, hookimpl, layer_inputs, moment_roots
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from pbkd import Block
    from pbkd.protocols import BlockBuilder

PBKD_CONTRACT = 2

_Key = tuple[object, ...]
_Tensors = tuple["Tensor", ...]
_KEPT: dict[_Key, _Tensors] = {}
"""The last factors, by the content of what was decomposed, and the channels."""
_MOST_KEPT = 64
_WHOLE: dict[_Key, _Tensors] = {}
"""The last decompositions, from which candidates of a block take other numbers of channels."""
_MOST_WHOLE = 8


@dataclass(frozen=True)
class LowRankBuilder:
    """Replace every dense k x k convolution of a block by a k x 1 and a 1 x k convolution.

    There is no activation between the two (Jaderberg et al. 2014, arXiv 1405.3866). They are
    initialised with the least-squares optimum, by the SVD of the kernel as a matrix of (in, row) by
    (out, column). Each group of a grouped convolution gets such a pair. The block's other layers
    keep the teacher's weights.

    `share` is the pair's maximum share of the dense convolution's MACs (for equal strides); it
    determines the channels between the two, rounded down to a multiple of `multiple`, at least one.
    The default makes a block about four times cheaper. `energy`, in place of `share`, is the least
    share of the kernel's squared singular values that the pair keeps: each convolution gets as many
    channels as it needs, rounded up to a multiple, and stays as it is where a pair would not be
    cheaper. `ranks` sets the channels of each dense convolution directly, 0 for one that stays.
    `stem` also replaces convolutions of images. With `whiten` the kernel is decomposed in the
    metric of its inputs, as calibration has them, so that the error of the outputs is small rather
    than the error of the kernel.
    """

    name: ClassVar[str] = "low-rank"
    sizes: ClassVar[Sequence[Mapping[str, float]]] = tuple(
        {"share": share} for share in (0.5, 0.35, 0.16, 0.1)
    )
    calibrated: ClassVar[Mapping[str, bool]] = {"whiten": True}
    share: float = 0.24
    multiple: int = 1
    stem: bool = False
    whiten: bool = False
    energy: float | None = None
    ranks: list[int] | None = None

    def __post_init__(self) -> None:
        """Raise `ConfigError` if an option is out of range, or excludes another."""
        for option, value in (("share", self.share), ("energy", self.energy)):
            if value is not None and not 0 < value <= 1:
                raise ConfigError(
                    f"'builder.{option}' is {value}, but must be above 0 and at most 1."
                )
        if self.multiple < 1:
            raise ConfigError(f"'builder.multiple' is {self.multiple}, but must be at least 1.")
        if self.energy is not None and self.share != type(self).share:
            raise ConfigError("'builder.energy' and 'builder.share' exclude each other: set one.")
        if self.ranks is not None and min(self.ranks, default=0) < 0:
            raise ConfigError(f"'builder.ranks' is {self.ranks}, but none may be below 0.")

    @property
    def needs_calibration(self) -> bool:
        """Whether `build` takes calibration into account."""
        return self.whiten

    def build(
        self, segment: nn.Module, block: Block, calibration: Tensor | None = None
    ) -> nn.Module | Built | None:
        """Copy the segment and replace its dense convolutions.

        Args:
            segment: The teacher's segment, which stays as it is.
            block: The block's name, position and shapes.
            calibration: Inputs of the segment, which `whiten` needs.

        Returns:
            The replacement, with its ranks if they were chosen by energy; None if the segment has
            no such convolution.
        """
        holder = nn.Sequential(copy.deepcopy(segment))
        dense = {
            name: convolution
            for name, convolution in dense_convolutions(holder, stem=self.stem)
            if min(convolution.kernel_size) > 1
        }
        roots = input_roots(holder, dense, calibration) if self.whiten else {}
        ranks = self._ranks(dense, roots, block)
        for (name, convolution), rank in zip(dense.items(), ranks, strict=True):
            if rank:
                holder.set_submodule(name, thin_pair(convolution, rank, roots.get(name)))
        if not any(ranks):
            return None
        return holder[0] if self.energy is None else Built(holder[0], {"ranks": ranks})

    def _ranks(
        self, dense: Mapping[str, nn.Conv2d], roots: Mapping[str, Tensor], block: Block
    ) -> list[int]:
        """Return the channels per group of each pair, 0 for a convolution that stays."""
        if self.ranks is not None:
            if len(self.ranks) != len(dense):
                raise ConfigError(
                    f"'builder.ranks' has {len(self.ranks)} numbers, but '{block.name}' has"
                    f" {len(dense)} dense convolutions."
                )
            return self.ranks
        if self.energy is None:
            return [self._channels(convolution) for convolution in dense.values()]
        return [
            self._channels_by_energy(convolution, self.energy, roots.get(name))
            for name, convolution in dense.items()
        ]

    def _channels(self, dense: nn.Conv2d) -> int:
        """Return as many channels per group as the share allows, at least one."""
        whole, each = _macs(dense)
        fitting = math.floor(self.share * whole / each)
        return max(1, fitting - fitting % self.multiple if fitting >= self.multiple else fitting)

    def _channels_by_energy(self, dense: nn.Conv2d, energy: float, root: Tensor | None) -> int:
        """Return as few channels per group as keep the energy; 0 if they would not be cheaper."""
        scale = torch.linalg.svdvals(_matrices(dense, root)).square()
        kept = scale.cumsum(1) / scale.sum(1, keepdim=True).clamp_min(1e-30)
        needed = 1 + int((kept < energy).sum(1).max())
        needed = min(-(-needed // self.multiple) * self.multiple, scale.shape[1])
        whole, each = _macs(dense)
        return needed if needed * each < whole else 0


def _macs(dense: nn.Conv2d) -> tuple[int, int]:
    """Return MACs of a group per output pixel: of the convolution, and of a pair's channel."""
    height, width = dense.kernel_size
    before, after = dense.in_channels // dense.groups, dense.out_channels // dense.groups
    # The vertical convolution has the input's columns, the horizontal one the output's.
    return height * width * before * after, height * before * dense.stride[1] + width * after


def thin_pair(dense: nn.Conv2d, channels: int, root: Tensor | None = None) -> nn.Sequential:
    """Approximate a convolution by a k x 1 and a 1 x k convolution, in the least-squares sense.

    Args:
        dense: The k x k convolution.
        channels: Channels per group between the two; more than the kernel's rank add nothing.
        root: The root of the second moments of its inputs, see `input_roots`: the squared error of
            the outputs is made small, as far as different columns of pixels are independent. With
            None the error of the kernel is.

    Returns:
        The two convolutions in a row.
    """
    groups, (height, width) = dense.groups, dense.kernel_size
    before, after = dense.in_channels // groups, dense.out_channels // groups
    channels = min(channels, before * height, after * width)
    tall = _like(dense, 0, dense.in_channels, groups * channels, bias=False)
    wide = _like(dense, 1, groups * channels, dense.out_channels, bias=dense.bias is not None)
    down, up = _factors(_matrices(dense, root), channels, root)
    up = up.reshape(groups, after, width, channels)
    with torch.no_grad():
        tall.weight.copy_(down.reshape(groups * channels, before, height, 1))
        wide.weight.copy_(up.mT.reshape(groups * after, channels, 1, width))
        if dense.bias is not None and wide.bias is not None:
            wide.bias.copy_(dense.bias)
    return nn.Sequential(tall, wide)


def _factors(matrices: Tensor, channels: int, root: Tensor | None) -> tuple[Tensor, Tensor]:
    """Approximate each matrix by two factors of so many channels.

    A run builds the same replacement several times, and most of that is this decomposition: the
    last results are kept.

    Args:
        matrices: The kernels, (groups, rows, columns).
        channels: Channels between the factors.
        root: What the matrices were multiplied by on their left; it is divided out.

    Returns:
        The factors, (groups, channels, rows) and (groups, columns, channels).
    """
    content = _digest(matrices), None if root is None else _digest(root)
    key = (*content, channels)
    if key not in _KEPT:
        left, scale, right = _decomposed(matrices, root, content)
        half = scale[:, :channels].sqrt()[:, None]
        factors = (left[..., :channels] * half).mT, right[:, :channels].mT * half
        _keep(_KEPT, key, factors, _MOST_KEPT)
    down, up = _KEPT[key]
    return down, up


def _decomposed(matrices: Tensor, root: Tensor | None, content: _Key) -> _Tensors:
    """Decompose each matrix; for candidates of one block, which differ in their channels, once."""
    if content not in _WHOLE:
        left, scale, right = torch.linalg.svd(matrices, full_matrices=False)
        if root is not None:
            left = torch.linalg.solve(root, left)
        _keep(_WHOLE, content, (left, scale, right), _MOST_WHOLE)
    return _WHOLE[content]


def _keep(kept: dict[_Key, _Tensors], key: _Key, tensors: _Tensors, most: int) -> None:
    kept[key] = tensors
    if len(kept) > most:
        kept.pop(next(iter(kept)), None)


def _digest(tensor: Tensor) -> str:
    content = hashlib.sha256(tensor.cpu().contiguous().numpy().tobytes())
    return f"{tensor.device} {tensor.dtype} {tuple(tensor.shape)} {content.hexdigest()}"


def _matrices(dense: nn.Conv2d, root: Tensor | None) -> Tensor:
    """Return each group's kernel, (in x row, out x column), with the root applied on its left."""
    groups, (height, width) = dense.groups, dense.kernel_size
    before, after = dense.in_channels // groups, dense.out_channels // groups
    kernels = dense.weight.detach().reshape(groups, after, before, height, width)
    matrices = kernels.permute(0, 2, 3, 1, 4).reshape(groups, before * height, after * width)
    return matrices if root is None else root @ matrices.double()


@torch.no_grad()
def input_roots(
    network: nn.Module, dense: Mapping[str, nn.Conv2d], calibration: Tensor | None
) -> dict[str, Tensor]:
    """Compute the roots of the second moments of what convolutions see in a column of pixels.

    Args:
        network: The network that they are in, in evaluation mode.
        dense: Convolutions by name.
        calibration: Inputs of the network; None if there are none.

    Returns:
        For each convolution a positive definite matrix per group, float64 (groups, in x row, in x
        row), whose square are the moments; nothing without calibration.
    """
    columns = {name: _columns(convolution) for name, convolution in dense.items()}

    def samples() -> Iterator[tuple[str, Tensor]]:
        for name, x in () if calibration is None else layer_inputs(network, dense, calibration):
            seen = columns[name](x).transpose(0, 1).flatten(1)
            yield name, seen.reshape(dense[name].groups, -1, seen.shape[1]).double()

    return moment_roots(samples())


def _columns(dense: nn.Conv2d) -> nn.Conv2d:
    """Return a convolution whose outputs are the pixels that a column of `dense` sees."""
    height, channels = dense.kernel_size[0], dense.in_channels
    columns = _like(dense, 0, channels, channels * height, bias=False, groups=channels)
    columns.weight.copy_(torch.eye(height).repeat(channels, 1)[:, None, :, None])
    return columns.to(dense.weight.dtype)


def _like(
    dense: nn.Conv2d, side: int, before: int, after: int, *, bias: bool, groups: int | None = None
) -> nn.Conv2d:
    """Return a convolution with the geometry of `dense` along one axis only."""

    def along(values: Any, other: int) -> tuple[int, int]:
        return (values[0], other) if side == 0 else (other, values[1])

    padding: Any = dense.padding
    return nn.Conv2d(
        before,
        after,
        along(dense.kernel_size, 1),
        stride=along(dense.stride, 1),
        padding=padding if isinstance(padding, str) else along(padding, 0),
        dilation=along(dense.dilation, 1),
        groups=groups or dense.groups,
        bias=bias,
        padding_mode=dense.padding_mode,
    )


@hookimpl
def register_builders() -> list[type[BlockBuilder]]:
    """Register the builder `low-rank`."""
    return [LowRankBuilder]
