"""From what people have to a plain network: float32, on the CPU, in evaluation mode."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pbkd.errors import TeacherError
from pbkd.models.chain import freeze
from pbkd.models.plain_convolutions import plain_convolutions
from pbkd.models.plain_weights import bake_weights
from pbkd.models.refusals import check_kind, check_tensors
from pbkd.models.wrappers import copied, unwrapped

if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = ["Adopted", "adopt", "loadable"]


@dataclass(frozen=True)
class Adopted:
    """A network as pbkd compresses it.

    Attributes:
        network: A copy of plain layers in float32, on the CPU, frozen.
        notes: What differs from the network that was given, a sentence each.
    """

    network: nn.Module
    notes: tuple[str, ...]


def adopt(given: Any) -> Adopted:
    """Copy a trained network without what training left around its layers.

    Wrappers are removed, weights that are computed from others become plain parameters,
    convolutions with a forward of their own become `nn.Conv2d`s, and other types become float32.

    Args:
        given: The network, or a wrapper around it; it stays unchanged.

    Returns:
        The network and notes.

    Raises:
        TeacherError: If it cannot be taken: it is no module, has no layers any more, is quantized,
            sharded, uninitialised or on the meta device, or takes further arguments.
    """
    inner, wrappers = unwrapped(given)
    check_kind(inner)
    check_tensors(inner)
    _check_arguments(inner)
    notes = []
    if wrappers:
        notes.append(f"The teacher is taken out of its {_listed(wrappers)}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's advice on older kinds of normalisation
        network = freeze(copied(inner).cpu())
        notes += _to_float32(network)
        baked = bake_weights(network)
    if baked:
        notes.append(f"The teacher's weights are taken with their {_listed(baked)} applied.")
    if replaced := plain_convolutions(network):
        notes.append(f"The teacher's {_listed(replaced)} layers are taken as plain convolutions.")
    return Adopted(freeze(network), tuple(notes))


def loadable(given: Any) -> nn.Module:
    """Return the network inside its wrappers, in float32, so that a file of weights fits it.

    Args:
        given: The network, or a wrapper around it; its type is changed.

    Raises:
        TeacherError: If it cannot be taken, see `adopt`.
    """
    network, _ = unwrapped(given)
    check_kind(network)
    check_tensors(network)
    module: nn.Module = network
    return module.float()


def _to_float32(network: nn.Module) -> list[str]:
    tensors = [*network.parameters(), *network.buffers()]
    dtypes = {t.dtype for t in tensors if t.is_floating_point()} - {torch.float32}
    if not dtypes:
        return []
    network.float()
    names = sorted(str(dtype).removeprefix("torch.") for dtype in dtypes)
    return [f"The teacher's weights are of type {_listed(names)}: they are taken as float32."]


def _check_arguments(network: nn.Module) -> None:
    """Refuse a forward that cannot be called with a batch of images alone."""
    try:
        signature = inspect.signature(network.forward)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise TeacherError(
            f"{type(network).__name__}.forward{signature} cannot be called with one batch of images"
            f" alone ({error}): take them as the first argument, and give the others defaults."
        ) from error


def _listed(names: Iterable[str]) -> str:
    *first, last = dict.fromkeys(names)
    return f"{', '.join(first)} and {last}" if first else last
