"""The tensors of a checkpoint by name, and the ways in which training programs change names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pbkd.models.parametrized import multiplied_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor


__all__ = ["NamedTensor", "joined_parts", "tensors_in", "without_wrappers", "writings"]

_DEPTH = 8
_MOST_PARTS = 4
_WRAPPERS = r"_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module"
_OLD, _NEW = ("weight_g", "weight_v"), tuple(f"parametrizations.weight.original{i}" for i in (0, 1))


@dataclass(frozen=True)
class NamedTensor:
    """A tensor of a checkpoint.

    Attributes:
        name: The keys that lead to it, joined by dots.
        tensor: The tensor.
        holder: The keys that lead to the dictionary that holds it.
    """

    name: str
    tensor: Tensor = field(compare=False)
    holder: tuple[str, ...]


def tensors_in(content: Any, path: tuple[str, ...] = ()) -> Iterator[NamedTensor]:
    """Yield the tensors and numeric arrays in nested dictionaries; lists are not entered."""
    if not isinstance(content, Mapping) or len(path) > _DEPTH:
        return
    for key, value in content.items():
        if not isinstance(key, str):
            continue
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            value = torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
        if torch.is_tensor(value):
            yield NamedTensor(".".join((*path, key)), value, path)
        else:
            yield from tensors_in(value, (*path, key))


def without_wrappers(names: Sequence[str]) -> Iterator[list[str]]:
    """Yield names as they are, then without the parts that wrappers add inside them.

    `torch.compile`, FSDP and activation checkpointing add parts with an underscore; DataParallel
    around a part of the network, as in old VGGs, adds `module`.
    """
    yield list(names)
    for wrappers in (_WRAPPERS, rf"{_WRAPPERS}|module"):
        shorter = [re.sub(rf"(?<![^.])(?:(?:{wrappers})\.)+", "", name) for name in names]
        if shorter != list(names):
            yield shorter


def writings(tensors: Sequence[NamedTensor]) -> Iterator[list[NamedTensor]]:
    """Yield tensors as they are, and with parametrized weights in other ways of writing them.

    These are torch's two styles of weight normalisation, and the weight itself, multiplied out.
    """
    yield list(tensors)
    for before, after in ((_OLD, _NEW), (_NEW, _OLD)):
        renamed = [replace(one, name=_renamed(one.name, before, after)) for one in tensors]
        if renamed != tensors:
            yield renamed
    plain = multiplied_out({one.name: one.tensor for one in tensors})
    if len(plain) < len(tensors):
        holders = {one.name.rpartition(".")[0]: one.holder for one in reversed(tensors)}
        yield [
            NamedTensor(
                name, tensor, holders.get(name.rpartition(".")[0]) or _holder(name, tensors)
            )
            for name, tensor in plain.items()
        ]


def _renamed(name: str, before: Sequence[str], after: Sequence[str]) -> str:
    for old, new in zip(before, after, strict=True):
        if name.endswith(f".{old}"):
            return name.removesuffix(old) + new
    return name


def _holder(name: str, tensors: Sequence[NamedTensor]) -> tuple[str, ...]:
    """Return the dictionary that holds the parts of a weight that was multiplied out."""
    start = name.rpartition(".")[0]
    return next(one.holder for one in tensors if one.name.startswith(start))


def joined_parts(tensors: Sequence[NamedTensor]) -> Iterator[list[NamedTensor]]:
    """Yield the parts of a network that stand in dictionaries side by side as one.

    `{"backbone": …, "head": …}` may hold the parts of one network, whose names begin with the name
    of the part or do not.
    """
    for parent in {one.holder[:-1] for one in tensors if one.holder}:
        inside = [one for one in tensors if one.holder and one.holder[:-1] == parent]
        parts = list(dict.fromkeys(one.holder for one in inside))
        if not 2 <= len(parts) <= _MOST_PARTS:
            continue
        for dropped in product((True, False), repeat=len(parts)):
            shorter = {part for part, drop in zip(parts, dropped, strict=True) if drop}
            joined = [_lifted(one, drop=one.holder in shorter) for one in inside]
            if shorter and len({one.name for one in joined}) == len(joined):
                yield joined


def _lifted(one: NamedTensor, *, drop: bool) -> NamedTensor:
    """Move a tensor to the dictionary above its own; `drop` leaves out the name of its own."""
    parent = one.holder[:-1]
    key = one.name[len(".".join(one.holder)) + 1 :]
    return NamedTensor(".".join((*parent, key)) if drop else one.name, one.tensor, parent)
