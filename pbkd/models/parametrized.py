"""Weights that a file holds in factors: normalised, spectrally normalised or pruned."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


__all__ = ["multiplied_out"]

_NEW = "parametrizations."


def multiplied_out(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace the factors of weights by the weights.

    Weight normalisation (Salimans and Kingma 2016, arXiv:1602.07868) of both styles of torch,
    spectral normalisation (Miyato et al. 2018, arXiv:1802.05957) as in evaluation, and the masks of
    `torch.nn.utils.prune`.

    Args:
        tensors: Tensors by name.

    Returns:
        Tensors by name; those without factors are the same.
    """
    plain = dict(tensors)
    for name in tensors:
        for weight, factors in _weights_at(name, tensors).items():
            if not all(factor in plain for factor in factors):
                continue
            with suppress(RuntimeError):  # factors of other shapes are something else
                product = _product(name, [plain[factor].double() for factor in factors])
                plain = {key: plain[key] for key in plain if key not in factors}
                plain[weight] = product.to(tensors[name].dtype)
    return plain


def _weights_at(name: str, tensors: Mapping[str, Tensor]) -> dict[str, tuple[str, ...]]:
    """Return the weight whose first factor has this name, with the names of all its factors."""
    start, _, last = name.rpartition(".")
    prefix = f"{start}." if start else ""
    if last == "weight_g":
        return {f"{prefix}weight": (name, f"{prefix}weight_v")}
    if last.endswith("_orig"):
        stem = name.removesuffix("_orig")
        if f"{stem}_mask" in tensors:
            return {stem: (name, f"{stem}_mask")}
        return {stem: (name, f"{stem}_u", f"{stem}_v")}
    module, found, weight = start.rpartition(_NEW)
    if found and last == "original0":
        return {f"{module}{weight}": (name, f"{start}.original1")}
    if found and last == "original":
        return {f"{module}{weight}": (name, f"{start}.0._u", f"{start}.0._v")}
    return {}


def _product(name: str, factors: list[Tensor]) -> Tensor:
    """Multiply the factors of a weight."""
    if len(factors) == 3:  # spectral normalisation: the weight and its two singular vectors
        weight, left, right = factors
        return weight / torch.dot(left, weight.flatten(1) @ right)
    if name.endswith("_orig"):
        return factors[0] * factors[1]
    length, direction = factors
    same = [axis for axis in range(direction.dim()) if length.dim() and length.shape[axis] == 1]
    norm: Tensor = torch.linalg.vector_norm(direction, dim=same or None, keepdim=length.dim() > 0)
    return direction * (length / norm)
