"""The teacher as a chain of named segments: checks, block shapes, BatchNorm folding."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pbkd.core.blocks import Block
from pbkd.errors import ChainError, PbkdError, TeacherError, is_out_of_memory, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


__all__ = ["check_chain", "describe_blocks", "freeze", "fuse_batchnorm"]

# A chain runs its teacher's own kernels in its teacher's order; only a different memory layout
# may change the last bits.
_TOLERANCE = 1e-5


def freeze(module: nn.Module) -> nn.Module:
    """Put a network into evaluation mode, switch its gradients off, and return it."""
    return module.eval().requires_grad_(False)


@torch.no_grad()
def check_chain(teacher: nn.Module, chain: nn.Sequential, images: Tensor) -> None:
    """Check that a chain computes the teacher's function.

    Args:
        teacher: The teacher, in evaluation mode.
        chain: Its chain, in evaluation mode.
        images: A batch, (B, C, H, W).

    Raises:
        ChainError: If the outputs differ, or a segment fails, returns something else than one
            tensor, or changes its input in place.
        TeacherError: If the teacher itself cannot process the images.
    """
    if not isinstance(chain, nn.Sequential) or len(chain) == 0:
        raise ChainError(f"a chain must be a non-empty nn.Sequential, not {type(chain).__name__}.")
    expected = _expected(teacher, images)
    for name, _ in chain.named_children():  # a block's name becomes that of a file
        if not name.isprintable() or "/" in name or "\\" in name:
            raise ChainError(f"the segment name {name!r} cannot be part of a file's name.")
    x = images
    for name, segment in chain.named_children():
        before = x.clone()
        y = _output(name, segment, x)
        if not isinstance(y, Tensor):
            raise ChainError(f"the segment '{name}' gives {type(y).__name__}, not one tensor.")
        if not torch.allclose(x, before, rtol=0, atol=0, equal_nan=True):
            raise ChainError(
                f"the segment '{name}' changes its input in place; cut the chain after that"
                " operation or make it out of place."
            )
        x = y
    if x.shape != expected.shape:
        raise ChainError(
            f"the chain gives {tuple(x.shape)} where the teacher gives {tuple(expected.shape)}."
        )
    error = float((x - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    if not error <= _TOLERANCE:
        raise ChainError(
            f"the chain's output differs from the teacher's by {error:.2g} of its largest value:"
            " the segments skip, repeat or reorder something."
        )


def _expected(teacher: nn.Module, images: Tensor) -> Tensor:
    try:
        logits: Tensor = teacher(images)
    except PbkdError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        shape = " x ".join(map(str, images.shape[1:]))
        raise TeacherError(
            f"the network {type(teacher).__name__} cannot process images of {shape}"
            f" ({one_line(error).rstrip('.')})."
        ) from error
    return logits


def _output(name: str, segment: nn.Module, x: Tensor) -> Any:
    try:
        return segment(x)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ChainError(
            f"the segment '{name}' cannot process its input of shape {tuple(x.shape)}"
            f" ({one_line(error).rstrip('.')})."
        ) from error


@torch.no_grad()
def describe_blocks(chain: nn.Sequential, image: Tensor, names: Iterable[str]) -> list[Block]:
    """Describe segments as blocks, with the shapes of one sample.

    Args:
        chain: The teacher's chain.
        image: One image, (1, C, H, W).
        names: The names of the segments.

    Returns:
        The blocks in the order of the chain.
    """
    wanted = set(names)
    blocks = []
    x = image
    for position, (name, segment) in enumerate(chain.named_children()):
        y = segment(x)
        if name in wanted:
            blocks.append(Block(name, position, tuple(x.shape[1:]), tuple(y.shape[1:])))
        x = y
    return blocks


@torch.no_grad()
def fuse_batchnorm(chain: nn.Sequential, images: Tensor) -> nn.Sequential:
    """Fold BatchNorm into the convolutions of a copy of the chain.

    A segment that cannot be traced, or whose output changes by more than 0.1 % on `images`, is
    copied as it is.

    Args:
        chain: The teacher's chain.
        images: A batch, (B, C, H, W).

    Returns:
        The folded copy, frozen and channels-last.
    """
    fused = nn.Sequential()
    x = images
    for name, segment in chain.named_children():
        original = copy.deepcopy(segment)
        y = original(x)
        candidate = _fuse_segment(original)
        close = candidate is not None and torch.allclose(
            candidate(x), y, rtol=1e-3, atol=1e-3 * float(y.abs().max())
        )
        fused.add_module(name, candidate if candidate is not None and close else original)
        x = y
    freeze(fused)
    return fused.to(memory_format=torch.channels_last)


def _fuse_segment(segment: nn.Module) -> nn.Module | None:
    """Fold one segment; None if it cannot be traced."""
    is_plain = type(segment) is nn.Sequential and not any(map(_has_parts, segment))
    try:
        return _fuse_layers([*segment.children()]) if is_plain else fuse(segment)
    except Exception:
        return None


def _has_parts(layer: nn.Module) -> bool:
    return next(layer.children(), None) is not None


def _fuse_layers(layers: Sequence[nn.Module]) -> nn.Sequential:
    """Fold layers that follow each other, which takes no trace."""
    folded: list[nn.Module] = []
    for layer in layers:
        before = folded[-1] if folded else None
        if type(before) is nn.Conv2d and type(layer) is nn.BatchNorm2d:
            folded[-1] = fuse_conv_bn_eval(before, layer)
        else:
            folded.append(layer)
    return nn.Sequential(*folded)
