"""Images that two of a program's sources share, so that none is both trained on and scored on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pbkd.data.checked_split import is_in_memory
from pbkd.data.row_keys import content_keys
from pbkd.data.splits import Subset
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from pbkd.data.datasets import Split

__all__ = ["SourceRows", "without_shared"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceRows:
    """The rows of a source, such as a loader, and what they are.

    Attributes:
        split: The images and labels.
        keys: The key of every image, int64 (len(split),), see `row_keys`.
        reach: None if the keys belong to rows. If they are by content, since nothing else is known
            of a source that is read in its own order: the keys of all rows it may have read.
        notes: Remarks for the user, a sentence each.
    """

    split: Split
    keys: Tensor
    reach: Tensor | None = None
    notes: tuple[str, ...] = ()


def without_shared(
    training: SourceRows, held: Mapping[str, SourceRows]
) -> tuple[SourceRows, list[str]]:
    """Leave out the training images that are validation or test images too.

    Args:
        training: The training images.
        held: The validation and the test images, as far as they are given, by name.

    Returns:
        The training images that are left, and notes.

    Raises:
        DataError: None is left.
    """
    left_out = torch.zeros(len(training.keys), dtype=torch.bool)
    notes = []
    for name, rows in held.items():
        shared = _shared(training, rows)
        left_out |= shared
        if bool(shared.any()):
            notes.append(
                f"{int(shared.sum())} of the {len(shared)} training images are {name} images too:"
                " they are not trained on."
            )
        notes += _note_on_copies(training, name, rows, shared)
    if len(left_out) and bool(left_out.all()):
        raise DataError(
            f"all training images are {' or '.join(held)} images too: give other images, or none"
            " to hold out a tenth of the training images."
        )
    if len(held) == 2:
        notes += _note_on_selection(held["validation"], held["test"])
    if not bool(left_out.any()):
        return training, notes
    kept = (~left_out).nonzero()[:, 0]
    left = replace(training, split=Subset(training.split, kept), keys=training.keys[kept])
    return left, notes


def _shared(rows: SourceRows, others: SourceRows) -> Tensor:
    """Return which rows are among the others: bool (len(rows),)."""
    keys, other_keys = rows.keys, others.keys
    if rows.reach is None and others.reach is None:
        return torch.isin(keys, other_keys)
    reach = keys if rows.reach is None else rows.reach
    if not bool(torch.isin(reach, other_keys if others.reach is None else others.reach).any()):
        return torch.zeros(len(keys), dtype=torch.bool)
    keys = content_keys(rows.split) if rows.reach is None else keys
    other_keys = content_keys(others.split) if others.reach is None else other_keys
    return torch.isin(keys, other_keys)


def _note_on_copies(
    training: SourceRows, name: str, others: SourceRows, shared: Tensor
) -> list[str]:
    """Note which images in memory have copies among the training images that are kept."""
    if not (is_in_memory(training.split) and is_in_memory(others.split)):
        return []
    kept = content_keys(training.split)[~shared]
    count = int(torch.isin(content_keys(others.split), kept).sum())
    if not count:
        return []
    return [
        f"{count} of the {len(others.keys)} {name} images are equal to training images, pixel by"
        " pixel."
    ]


def _note_on_selection(validation: SourceRows, test: SourceRows) -> list[str]:
    count = int(_shared(validation, test).sum())
    if not count:
        return []
    return [
        f"{count} of the {len(validation.keys)} validation images are test images too: the student"
        " is selected on images that it is scored on."
    ]
