"""Networks whose weights or activations are rounded to few bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import fx

if TYPE_CHECKING:
    from torch import nn


__all__ = ["is_rounded", "stored_bits"]

_ROUND = ("round", torch.round)


def stored_bits(network: nn.Module) -> dict[str, int]:
    """Return the bits of the parameters that are rounded, by their names in the network.

    A module that rounds parameters says so by an attribute `stored_bits`, a mapping of their names
    in the module to their bits.
    """
    return {
        f"{path}.{name}".lstrip("."): bits
        for path, part in network.named_modules()
        for name, bits in getattr(part, "stored_bits", {}).items()
    }


def is_rounded(network: nn.Module) -> bool:
    """Whether a network rounds weights or activations; one that was read as operations, too."""
    graphs = (part.graph for part in network.modules() if isinstance(part, fx.GraphModule))
    return bool(stored_bits(network)) or any(
        node.target in _ROUND for graph in graphs for node in graph.nodes
    )
