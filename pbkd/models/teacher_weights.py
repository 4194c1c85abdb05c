"""The user's own file of weights, loaded into a network."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import torch

from pbkd.errors import WeightsError
from pbkd.models.checkpoint_files import Checkpoint, read_checkpoint
from pbkd.models.checkpoint_layout import Placement, best_placement, placements
from pbkd.models.inert_pickle import Inert, inert_types
from pbkd.models.weight_values import check_values
from pbkd.models.weights import converted, first_names, fit_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn


__all__ = ["load_weights"]

_AVERAGED = {"ema", "swa", "averaged", "average", "shadow", "teacher"}
_USUAL = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "params",
          "weights", "module")  # fmt: skip


def load_weights(network: nn.Module, path: Path) -> tuple[str, ...]:
    """Load a checkpoint of any layout into a network.

    The weights may be below any keys and any common prefix of their names, beside the states of
    optimisers and other objects. Of several sets that fit, averaged weights are taken before
    others, as timm does, and those below the usual keys before those below other ones.

    Args:
        network: The network.
        path: The file, or a folder with one.

    Returns:
        Remarks on what was taken and what was changed, a sentence each.

    Raises:
        WeightsError: If the file is unreadable, or nothing in it fits, or too much.
    """
    checkpoint = read_checkpoint(path)
    wanted = {key: one for key, one in network.state_dict().items() if torch.is_tensor(one)}
    found = placements(checkpoint.content, wanted) if wanted else []
    if wanted and not found:
        raise _nothing_fits(checkpoint, wanted)
    if not found:
        return ()
    chosen, others = _choose(found, path)
    check_values(chosen.weights.items(), f"in '{path}'")
    fit_weights(network, converted(chosen.weights, wanted), path)
    return tuple(_remarks(checkpoint, chosen, others, wanted))


def _choose(found: Sequence[Placement], path: Path) -> tuple[Placement, list[Placement]]:
    """Choose one of several sets that fit; raise `WeightsError` if the names do not tell which."""
    ranked = sorted(found, key=_rank)
    first = ranked[0]
    unclear = [place for place in ranked if _rank(place) == _rank(first)]
    if len(unclear) > 1:
        names = " and ".join(f"'{_label(place)}'" for place in unclear)
        raise WeightsError(
            f"'{path}' has {len(unclear)} sets of weights that fit the network, {names}: save the"
            " one that you mean in a file of its own."
        )
    return first, ranked[1:]


def _rank(place: Placement) -> tuple[int, int]:
    """Order sets of weights by their keys: averaged ones, the usual keys, all others."""
    keys = [key for key in _label(place).split(".") if key]
    if any(word in _AVERAGED for key in keys for word in re.split(r"[^a-z]+", key.lower())):
        return (0, 0)
    if all(key in (*_USUAL, "_orig_mod") for key in keys):
        return (1, _USUAL.index(keys[0]) if keys and keys[0] in _USUAL else 0)
    return (2, 0)


def _label(place: Placement) -> str:
    return ".".join(part for part in (place.keys, place.removed.rstrip(".")) if part)


def _remarks(
    checkpoint: Checkpoint,
    chosen: Placement,
    others: Sequence[Placement],
    wanted: Mapping[str, Tensor],
) -> Iterator[str]:
    path = checkpoint.path
    if others:
        names = ", ".join(f"'{_label(place)}'" for place in others)
        yield (
            f"Of the weights in '{path}', '{_label(chosen)}' was taken; {names} would fit too: to"
            " take another, save it in a file of its own."
        )
    elif chosen.keys:
        yield f"The teacher's weights are '{chosen.keys}' of '{path}'."
    if chosen.removed or chosen.added:
        changes = {"was removed": chosen.removed, "was added": chosen.added}
        said = " and ".join(f"'{prefix}' {what}" for what, prefix in changes.items() if prefix)
        yield f"In the names of the teacher's weights the prefix {said}."
    yield from chosen.remarks
    if chosen.left_out:
        yield f"Of '{path}' was left out: {first_names(chosen.left_out)}."
    kinds = {chosen.weights[n].dtype for n in chosen.weights if wanted[n].is_floating_point()}
    for kind in sorted(map(str, kinds - {tensor.dtype for tensor in wanted.values()})):
        yield f"The teacher's weights were {kind.removeprefix('torch.')} and are used as float32."
    if unread := _unread(checkpoint.content):
        yield f"Not read, since it would run code: {first_names(unread)} in '{path}'."


def _unread(content: Any) -> list[str]:
    """Return the types that were not read, but for those of Python's library, such as paths."""
    names = dict.fromkeys(inert_types(content))
    return [name for name in names if name.split(".")[0] not in sys.stdlib_module_names]


def _nothing_fits(checkpoint: Checkpoint, wanted: Mapping[str, Tensor]) -> WeightsError:
    """Say why nothing in a checkpoint fits, by what fits best."""
    path, content = checkpoint.path, checkpoint.content
    if pickled := next(_pickled_networks(content), None):
        return WeightsError(
            f"'{path}' holds a whole network of the type {pickled}, and reading that would run"
            " code: load it where it was trained, and save its state_dict() with torch.save."
        )
    keys = [str(key) for key in content] if isinstance(content, dict) else []
    has = f"; its keys are {first_names(keys, 5)}" if keys else ""
    best = best_placement(content, wanted)
    if best is None:
        unread = _unread(content)
        kinds = f"; objects of {first_names(unread)} are not read" if unread else ""
        return WeightsError(
            f"'{path}' holds no state dict (names to tensors) of this network, such as"
            f" {first_names(list(wanted), 2)}{has}{kinds}."
        )
    where = f"'{_label(best)}' of '{path}'" if _label(best) else f"'{path}'"
    classes = _classes(best, wanted)
    cure = f": give teacher.num_classes={classes}, or build the network so" if classes else ""
    return WeightsError(f"{where} does not fit the network; {'; '.join(best.misfits)}{cure}{has}.")


def _classes(place: Placement, wanted: Mapping[str, Tensor]) -> int | None:
    """Return the number of classes of a file that differs in nothing else from the network."""
    if any(not clause.startswith("of another shape") for clause in place.misfits):
        return None
    other = [
        name
        for name in wanted
        if name in place.weights and (place.weights[name].shape != wanted[name].shape)
    ]
    sizes = {place.weights[name].shape[0] for name in other if place.weights[name].dim()}
    same_rest = all(place.weights[n].shape[1:] == wanted[n].shape[1:] for n in other)
    is_one_layer = len({name.rpartition(".")[0] for name in other}) == 1
    return sizes.pop() if same_rest and is_one_layer and len(sizes) == 1 else None


def _pickled_networks(content: Any, depth: int = 0) -> Iterator[str]:
    """Yield the types of networks that were pickled as a whole."""
    state = content.state if isinstance(content, Inert) else None
    if isinstance(state, dict) and "_parameters" in state:
        yield f"{type(content).__module__}.{type(content).__name__}"
    if isinstance(content, dict) and depth < 4:
        for value in content.values():
            yield from _pickled_networks(value, depth + 1)
