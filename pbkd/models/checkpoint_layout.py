"""The weights of a network in a checkpoint: found below any keys and any prefix of their names."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import torch

from pbkd.models.named_tensors import (
    NamedTensor,
    joined_parts,
    tensors_in,
    without_wrappers,
    writings,
)
from pbkd.models.weights import COUNTER, differences, first_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from torch import Tensor


__all__ = ["Placement", "best_placement", "placements"]

_IGNORED = (COUNTER, "total_ops", "total_params", "n_averaged")
"""Ends of names of buffers that counters and profilers add."""
_JOINED = "Parts of the teacher's weights in dictionaries side by side were joined."
_UNWRAPPED = "Parts that wrappers add inside the names of weights, such as 'module', were removed."
_CONVERTED = "Weights in factors (normalised or pruned) were converted."


@dataclass(frozen=True)
class Placement:
    """A set of tensors in a checkpoint, under the names of a network.

    Attributes:
        keys: The keys that lead to the dictionary with the tensors, joined by dots.
        removed: The prefix that was removed from their names.
        added: The prefix that was added.
        weights: The tensors by the network's names.
        left_out: The names of other tensors in the same dictionaries.
        misfits: In what the tensors differ from the network's; empty if they fit.
        remarks: What else was changed, a sentence each.
    """

    keys: str
    removed: str
    added: str
    weights: Mapping[str, Tensor]
    left_out: tuple[str, ...]
    misfits: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def placements(content: Any, wanted: Mapping[str, Tensor]) -> list[Placement]:
    """Find all sets of tensors in a checkpoint that fit a network.

    Args:
        content: Nested dictionaries with tensors.
        wanted: The network's tensors by name.

    Returns:
        The sets, of which none is equal to another. Names are changed no more than necessary: first
        they are looked for as they are, below any keys and any common prefix.
    """
    necessary = len({_place(one) for name, one in wanted.items() if not name.endswith(COUNTER)})
    for tensors, remarks in _forms(list(tensors_in(content))):
        distinct: list[Placement] = []
        for (prefix, added), count in _prefixes(tensors, wanted).items():
            if count < necessary:
                continue
            place = _placement(tensors, wanted, prefix, added)
            if not place.misfits and not any(_equal(place.weights, d.weights) for d in distinct):
                distinct.append(replace(place, remarks=remarks))
        if distinct:
            return distinct
    return []


def best_placement(content: Any, wanted: Mapping[str, Tensor]) -> Placement | None:
    """Return the set of tensors that shares most names with a network; None if none shares any."""
    tensors = list(tensors_in(content))
    counts = _prefixes(tensors, wanted)
    return _placement(tensors, wanted, *counts.most_common(1)[0][0]) if counts else None


def _forms(tensors: Sequence[NamedTensor]) -> Iterator[tuple[list[NamedTensor], tuple[str, ...]]]:
    """Yield the tensors in all ways of naming and writing them, with what was changed."""
    for form in chain([list(tensors)], joined_parts(tensors)):
        original = [one.name for one in form]
        for names in without_wrappers(original):
            renamed = [
                NamedTensor(name, one.tensor, one.holder)
                for name, one in zip(names, form, strict=True)
            ]
            for written in writings(renamed):
                changes = {
                    _JOINED: form != tensors,
                    _UNWRAPPED: names != original,
                    _CONVERTED: written != renamed,
                }
                yield written, tuple(text for text, changed in changes.items() if changed)


def _prefixes(
    tensors: Sequence[NamedTensor], wanted: Mapping[str, Tensor]
) -> Counter[tuple[str, str]]:
    """Count the wanted names below each prefix, for each prefix that may have to be added."""
    counts: Counter[tuple[str, str]] = Counter()
    for added in _common_prefixes(list(wanted)):
        short = {name.removeprefix(added) for name in wanted if not name.endswith(COUNTER)}
        counts.update(
            (one.name[: len(one.name) - len(end)], added)
            for one in tensors
            for end in _ends(one.name)
            if end in short
        )
    return counts


def _placement(
    tensors: Sequence[NamedTensor], wanted: Mapping[str, Tensor], prefix: str, added: str
) -> Placement:
    """Put the tensors whose names begin with `prefix` under the network's names."""
    below = {added + one.name[len(prefix) :]: one for one in tensors if one.name.startswith(prefix)}
    holders = {one.holder for name, one in below.items() if name in wanted}
    chosen = {name: one for name, one in below.items() if one.holder in holders}
    weights = _useful({name: one.tensor for name, one in chosen.items()}, wanted)
    left_out = [
        one.name
        for one in tensors
        if one.holder in holders and not one.name.startswith(prefix) and not _is_ignored(one.name)
    ]
    keys = ".".join(_common_start([one.holder for one in chosen.values()]))
    keys = keys if prefix.startswith(f"{keys}.") else ""
    removed = prefix[len(keys) + 1 :] if keys else prefix
    misfits = (*differences(wanted, weights), *_other_types(weights, wanted))
    return Placement(keys, removed, added, weights, tuple(left_out), misfits)


def _useful(weights: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out counters that do not fit, and repeat tensors that the network uses twice."""
    kept = {
        name: tensor
        for name, tensor in weights.items()
        if not _is_ignored(name) or (name in wanted and _fits(name, tensor, wanted[name]))
    }
    twins = {_place(tensor): name for name, tensor in wanted.items() if name in kept}
    for name, tensor in wanted.items():
        twin = twins.get(_place(tensor))
        if name not in kept and twin is not None and tensor.numel() and not tensor.is_meta:
            kept[name] = kept[twin]
    return kept


def _fits(name: str, tensor: Tensor, wanted: Tensor) -> bool:
    """Whether a tensor has the shape of a network's counter, and BatchNorm's are whole numbers."""
    if tensor.shape != wanted.shape or tensor.is_complex():
        return False
    return not name.endswith(COUNTER) or bool(((tensor >= 0) & (tensor.long() == tensor)).all())


def _place(tensor: Tensor) -> tuple[Any, ...]:
    return (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape)


def _is_ignored(name: str) -> bool:
    return name.rpartition(".")[2] in _IGNORED


def _other_types(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Describe integers, as of quantised weights, in place of real numbers."""
    wrong = [
        f"{name} ({str(weights[name].dtype).removeprefix('torch.')})"
        for name, tensor in wanted.items()
        if name in weights
        and not _is_ignored(name)
        and tensor.is_floating_point() != weights[name].is_floating_point()
    ]
    return [f"of another type: {first_names(wrong)}"] if wrong else []


def _ends(name: str) -> Iterator[str]:
    """Yield a name and its ends after every dot."""
    yield name
    yield from (name[match.end() :] for match in re.finditer(r"\.", name))


def _common_prefixes(names: Sequence[str]) -> Iterator[str]:
    """Yield the prefixes, none first, that all names have and that end with a dot."""
    parts = _common_start([tuple(name.split(".")[:-1]) for name in names])
    yield from (".".join((*parts[:count], "")) for count in range(len(parts) + 1))


def _common_start(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    first, last = min(paths, default=()), max(paths, default=())
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return first[:shared]


def _equal(some: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    return all(
        name in others and torch.equal(tensor, others[name])
        for name, tensor in some.items()
        if not _is_ignored(name)
    )
