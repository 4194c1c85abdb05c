"""Conformance tests of engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pbkd.models.engines import in_engine
from pbkd.models.weights import fingerprint
from pbkd.testing.tiny import tiny_teacher

if TYPE_CHECKING:
    from torch import nn

    from pbkd.protocols import Engine

__all__ = ["check_engine"]

_CLOSE = 1e-3  # of the largest output


@torch.no_grad()
def check_engine(engine: Engine, network: nn.Module | None = None) -> None:
    """Check that a network gives the same outputs in an engine, and stays unchanged.

    Args:
        engine: The engine.
        network: A network for images of shape (3, 8, 8) (default: `tiny_teacher()`).

    Raises:
        AssertionError: It breaks the contract.
        PbkdError: It is not installed, or cannot execute the network.
    """
    network = (tiny_teacher() if network is None else network).eval()
    before = fingerprint(network)
    for count in (1, 4):
        images = torch.rand(count, 3, 8, 8)
        run = in_engine(engine, network, images)
        for given in (images, images.flip(0)):
            found, wanted = run(given).cpu(), network(given)
            assert found.shape == wanted.shape, (
                f"outputs have the shape {tuple(found.shape)} instead of {tuple(wanted.shape)}"
            )
            worst = float((found - wanted).abs().max() / wanted.abs().max())
            assert worst <= _CLOSE, f"outputs differ from the network's by {100 * worst:.2g} %"
    assert fingerprint(network) == before, "prepare changes the network's weights"
