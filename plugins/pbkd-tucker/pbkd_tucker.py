"""Tucker-2 replacements: a thin dense convolution between two 1 x 1 convolutions, by tensorly."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

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

if find_spec("tensorly") is None:  # imported when it is used, since that takes half a second
    raise ImportError("tensorly is not installed: pip install 'pbkd[tucker]'")


@dataclass(frozen=True)
class TuckerBuilder:
    """Replace every dense k x k convolution by a 1 x 1, a thinner k x k and a 1 x 1 convolution.

    There is no activation between the three (Kim et al. 2016, arXiv 1511.06530). They are
    initialised by a Tucker decomposition of the kernel along its input and output channels, by
    higher-order orthogonal iteration. Each group of a grouped convolution gets such a triple. The
    block's other layers keep the teacher's weights.

    `share` is the maximum share of the dense convolution's MACs; both ranks then are the same share
    of their channels. `energy`, in place of `share`, is the least share of the squared singular
    values that is kept along each of the two; a convolution stays as it is where the three would
    not be cheaper. `ranks` sets the ranks directly: for each dense convolution the one of its input
    and the one of its output channels; 0 and 0 for one that stays. `stem` also replaces
    convolutions of images. With `whiten` the kernel is decomposed in the metric of its input
    channels, as calibration has them.
    """

    name: ClassVar[str] = "tucker"
    sizes: ClassVar[Sequence[Mapping[str, float]]] = tuple(
        {"share": share} for share in (0.5, 0.35, 0.16, 0.1)
    )
    calibrated: ClassVar[Mapping[str, bool]] = {"whiten": True}
    share: float = 0.24
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
        roots = channel_roots(holder, dense, calibration) if self.whiten else {}
        ranks = self._ranks(dense, roots, block)
        for (name, convolution), rank in zip(dense.items(), ranks, strict=True):
            if all(rank):
                holder.set_submodule(name, thin_triple(convolution, rank, roots.get(name)))
        if not any(all(rank) for rank in ranks):
            return None
        chosen = [rank for pair in ranks for rank in pair]
        return holder[0] if self.energy is None else Built(holder[0], {"ranks": chosen})

    def _ranks(
        self, dense: Mapping[str, nn.Conv2d], roots: Mapping[str, Tensor], block: Block
    ) -> list[tuple[int, int]]:
        """Return the ranks of input and output channels; 0 for a convolution that stays."""
        if self.ranks is not None:
            if len(self.ranks) != 2 * len(dense):
                raise ConfigError(
                    f"'builder.ranks' has {len(self.ranks)} numbers, but '{block.name}' has"
                    f" {len(dense)} dense convolutions, each of which needs two."
                )
            return list(zip(self.ranks[::2], self.ranks[1::2], strict=True))
        if self.energy is None:
            return [_ranks_by_share(convolution, self.share) for convolution in dense.values()]
        return [
            _ranks_by_energy(convolution, self.energy, roots.get(name))
            for name, convolution in dense.items()
        ]


def _ranks_by_share(dense: nn.Conv2d, share: float) -> tuple[int, int]:
    """Return the same share of input and output channels, at least one of each."""
    before, after, area, stride = _sizes(dense)
    core, outer = area * before * after, before * before * stride + after * after
    # The positive root of core a^2 + outer a = share core, the MACs for each output pixel.
    part = (math.sqrt(outer**2 + 4 * share * core**2) - outer) / (2 * core)
    return max(1, math.floor(part * before)), max(1, math.floor(part * after))


def _ranks_by_energy(dense: nn.Conv2d, energy: float, root: Tensor | None) -> tuple[int, int]:
    """Return the least ranks that keep the energy; zeros if the triple would not be cheaper."""
    before, after, area, stride = _sizes(dense)
    kernels = _kernels(dense, root)
    first = _needed(kernels.transpose(1, 2).flatten(2), energy)
    last = _needed(kernels.flatten(2), energy)
    cost = stride * before * first + area * first * last + last * after
    return (first, last) if cost < area * before * after else (0, 0)


def _needed(matrices: Tensor, energy: float) -> int:
    scale = torch.linalg.svdvals(matrices).square()
    kept = scale.cumsum(1) / scale.sum(1, keepdim=True).clamp_min(1e-30)
    return min(1 + int((kept < energy).sum(1).max()), matrices.shape[1])


def _sizes(dense: nn.Conv2d) -> tuple[int, int, int, int]:
    """Return input and output channels of a group, pixels of the kernel, and of the stride."""
    before, after = dense.in_channels // dense.groups, dense.out_channels // dense.groups
    return before, after, math.prod(dense.kernel_size), math.prod(dense.stride)


def thin_triple(
    dense: nn.Conv2d, ranks: tuple[int, int], root: Tensor | None = None
) -> nn.Sequential:
    """Approximate a convolution by a 1 x 1, a thinner k x k and a 1 x 1 convolution.

    Args:
        dense: The k x k convolution.
        ranks: Channels per group before and after the k x k convolution between.
        root: The root of the second moments of its input channels, see `channel_roots`: the squared
            error of the outputs is made small, as far as different pixels are independent. With
            None the error of the kernel is.

    Returns:
        The three convolutions in a row.
    """
    from tensorly import backend_context
    from tensorly.decomposition import partial_tucker

    groups, (before, after, _, _) = dense.groups, _sizes(dense)
    first, last = min(ranks[0], before), min(ranks[1], after)
    inner, outer = groups * first, groups * last
    layers = (
        nn.Conv2d(dense.in_channels, inner, 1, groups=groups, bias=False),
        _between(dense, inner, outer),
        nn.Conv2d(outer, dense.out_channels, 1, groups=groups, bias=dense.bias is not None),
    )
    parts: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    with backend_context("pytorch", local_threadsafe=True):
        for group, kernel in enumerate(_kernels(dense, root)):
            (core, (up, down)), _ = partial_tucker(kernel, rank=[last, first], modes=[0, 1])
            down = down if root is None else torch.linalg.solve(root[group], down)
            for part, tensor in zip(parts, (down.mT[..., None, None], core, up), strict=True):
                part.append(tensor)
    with torch.no_grad():
        for layer, part in zip(layers, parts, strict=True):
            layer.weight.copy_(torch.cat(part).reshape(layer.weight.shape))
        if dense.bias is not None and layers[2].bias is not None:
            layers[2].bias.copy_(dense.bias)
    return nn.Sequential(*layers)


def _between(dense: nn.Conv2d, before: int, after: int) -> nn.Conv2d:
    """Return a convolution with the geometry of `dense`, without a bias."""
    return nn.Conv2d(
        before,
        after,
        dense.kernel_size,  # type: ignore[arg-type]
        stride=dense.stride,  # type: ignore[arg-type]
        padding=dense.padding,  # type: ignore[arg-type]
        dilation=dense.dilation,  # type: ignore[arg-type]
        groups=dense.groups,
        bias=False,
        padding_mode=dense.padding_mode,
    )


def _kernels(dense: nn.Conv2d, root: Tensor | None) -> Tensor:
    """Return each group's kernel, float64 (out, in, row, column), with the root applied to in."""
    before, after, _, _ = _sizes(dense)
    shape = (dense.groups, after, before, *dense.kernel_size)
    kernels = dense.weight.detach().double().reshape(shape)
    return kernels if root is None else torch.einsum("gij,gojhw->goihw", root, kernels)


@torch.no_grad()
def channel_roots(
    network: nn.Module, dense: Mapping[str, nn.Conv2d], calibration: Tensor | None
) -> dict[str, Tensor]:
    """Compute the roots of the second moments of convolutions' input channels.

    Args:
        network: The network that they are in, in evaluation mode.
        dense: Convolutions by name.
        calibration: Inputs of the network; None if there are none.

    Returns:
        For each convolution a positive definite matrix per group, float64 (groups, in, in), whose
        square are the moments, scaled to 1 on average; nothing without calibration.
    """

    def samples() -> Iterator[tuple[str, Tensor]]:
        for name, x in () if calibration is None else layer_inputs(network, dense, calibration):
            channels = x.transpose(0, 1)
            yield name, channels.reshape(dense[name].groups, -1, x.numel() // x.shape[1]).double()

    return moment_roots(samples())


@hookimpl
def register_builders() -> list[type[BlockBuilder]]:
    """Register the builder `tucker`."""
    return [TuckerBuilder]
