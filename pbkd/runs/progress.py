"""How far a blockwise phase has come: read from the run folder, by the host and every worker."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from pbkd.core.events import BlockTrained, CheckpointDamaged
from pbkd.runs.events import read_events, record_event
from pbkd.training.checkpoint import CheckpointStore

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


__all__ = ["checkpoint_store", "file_checksum", "finished_blocks", "first_epochs"]


def checkpoint_store(
    folder: Path, phase: str, name: str, *, writer: str | None = None
) -> CheckpointStore:
    """Return where the checkpoints of a block, or of a whole student, are kept.

    `writer` records an event for each one that is damaged.
    """

    def damaged(why: str) -> None:
        if writer:
            record_event(folder, writer, CheckpointDamaged(reason=why))

    return CheckpointStore(folder / "checkpoints" / phase, name, damaged)


def finished_blocks(folder: Path, phase: str) -> dict[str, BlockTrained]:
    """Return the event of each block that is done and whose weight file is unchanged.

    A failed block needs no weight file: a second training may have written one.
    """
    checked = {
        event.block: event
        for event in read_events(folder)
        if isinstance(event, BlockTrained) and event.phase == phase and _is_whole(folder, event)
    }
    return dict(sorted(checked.items()))


def _is_whole(folder: Path, event: BlockTrained) -> bool:
    path = folder / event.phase / f"{event.block}.safetensors"
    return event.failure is not None or event.checksum == file_checksum(path)


def file_checksum(path: Path) -> str | None:
    """Return a checksum of a file's bytes; None where there is no such file."""
    try:
        return f"{zlib.crc32(path.read_bytes()):08x}"
    except FileNotFoundError:
        return None


def first_epochs(
    folder: Path, phase: str, names: Collection[str], epochs: int, *, writer: str | None = None
) -> dict[str, int]:
    """Return the epoch at which each block goes on; `epochs` where it is done.

    Teacher-fed blocks need nothing of each other: each goes on from its own newest checkpoint.
    Student-fed ones all go on from the newest epoch that every one of them has, even those that
    are done, since the others are fed what they gave at the time. `writer` records an
    event for each checkpoint that cannot be read.
    """
    finished = finished_blocks(folder, phase)
    if all(name in finished for name in names):
        return dict.fromkeys(names, epochs)
    kept = {name: checkpoint_store(folder, phase, name, writer=writer).readable() for name in names}
    if phase == "student-fed":
        common = set.intersection(*({0, *found} for found in kept.values()))
        return dict.fromkeys(names, max(common))
    return {name: epochs if name in finished else max(kept[name], default=0) for name in names}
