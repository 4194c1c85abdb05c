"""The values of weights: finite numbers, variances that are not negative, counts from 0."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from pbkd.errors import WeightsError
from pbkd.models.weights import COUNTER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn


__all__ = ["check_network", "check_values"]

_MEAN, _VARIANCE = "running_mean", "running_var"


def check_network(network: nn.Module, source: str) -> None:
    """Check the parameters of a network and the statistics of its BatchNorm layers.

    Other buffers are not checked: the constants of a network may be infinite, as in masks.

    Args:
        network: The network.
        source: Where its weights are from, for the error message.

    Raises:
        WeightsError: If one has a value that no training gives; it names the tensor.
    """
    statistics = (
        (name, buffer)
        for name, buffer in network.named_buffers()
        if name.rpartition(".")[2] in (_MEAN, _VARIANCE, COUNTER)
    )
    check_values(chain(network.named_parameters(), statistics), source)


def check_values(tensors: Iterable[tuple[str, Tensor]], source: str) -> None:
    """Check that numbers are finite, and that no variance and no count is negative.

    Args:
        tensors: Tensors with their names in the network.
        source: Where they are from, for the error message.

    Raises:
        WeightsError: If a value is another; it names the tensor.
    """
    for name, tensor in tensors:
        if fault := _fault(name.rpartition(".")[2], tensor):
            raise WeightsError(
                f"'{name}' {source} holds {fault}, so the training that made it diverged, or it is"
                " damaged: take an earlier checkpoint or another copy."
            )


def _fault(kind: str, tensor: Tensor) -> str | None:
    if not tensor.numel() or tensor.is_meta:
        return None
    values = tensor.detach()
    if values.is_floating_point() and not values.float().isfinite().all():
        return "numbers that are infinite or no numbers"
    if kind == _VARIANCE and values.float().min() < 0:
        return "negative variances"
    if kind == COUNTER and values.float().min() < 0:
        return "a negative count of batches"
    return None
