"""The convolutions that builders replace, and their inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


__all__ = ["dense_convolutions", "layer_inputs", "moment_roots"]

_ROWS = 16  # in one forward pass, which bounds the memory
_IMAGE_CHANNELS = 4
_LEAST = 1e-6  # of the largest eigenvalue of second moments


def dense_convolutions(
    segment: nn.Module, *, stem: bool = False
) -> Iterator[tuple[str, nn.Conv2d]]:
    """Find the convolutions that mix both pixels and channels.

    Grouped convolutions count if their groups have several channels. Subclasses of `nn.Conv2d` do
    not: they may compute something else.

    Args:
        segment: A segment of the chain.
        stem: Whether to include convolutions of images (at most 4 input channels). They have few
            MACs, and a cheap form loses information that all later blocks need.

    Yields:
        Name and module.
    """
    for name, module in segment.named_modules():
        if type(module) is not nn.Conv2d or max(module.kernel_size) == 1:
            continue
        mixes = module.groups == 1 or module.groups < module.in_channels
        if mixes and (stem or module.in_channels > _IMAGE_CHANNELS):
            yield name, module


def layer_inputs(
    network: nn.Module, layers: Mapping[str, nn.Module], inputs: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """Compute what layers inside a network get, for builders with calibration.

    Args:
        network: The network, such as a block's segment, in evaluation mode.
        layers: Layers of it, by name.
        inputs: Inputs of the network, (N, ...). They pass through it in parts of 16 rows.

    Yields:
        A layer's name and its input, for each part and each time that the layer is called.
    """
    seen: list[tuple[str, Tensor]] = []

    def remember(name: str) -> Any:
        def add(_layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            seen.append((name, arguments[0]))

        return add

    for part in torch.split(inputs, _ROWS):
        handles = [x.register_forward_pre_hook(remember(name)) for name, x in layers.items()]
        try:
            with torch.no_grad():
                network(part)
        finally:
            for handle in handles:
                handle.remove()
        yield from seen
        seen.clear()


@torch.no_grad()
def moment_roots(samples: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Compute the roots of the second moments of what layers see, for builders with calibration.

    Args:
        samples: A layer's name and what each of its groups sees, float64 (groups, features, N); a
            name may come several times.

    Returns:
        By name a positive definite matrix per group, float64 (groups, features, features), whose
        square are the moments, scaled to 1 on average; singular ones are made regular. Layers that
        see nothing but zeros are left out.
    """
    moments: dict[str, Tensor] = {}
    for name, seen in samples:
        moments[name] = moments.get(name, 0.0) + seen @ seen.mT
    return {name: _root(moment) for name, moment in moments.items() if (moment != 0).any()}


def _root(moments: Tensor) -> Tensor:
    mean = moments.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    values, vectors = torch.linalg.eigh(moments / mean.clamp_min(1e-30))
    values = values.clamp_min(_LEAST * values.amax(-1, keepdim=True))
    root: Tensor = (vectors * values.sqrt()[:, None]) @ vectors.mT
    return root
