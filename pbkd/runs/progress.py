"""The progress of a phase, read from the run folder by the host and by every worker."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from pbkd.core.events import BlockTrained, CheckpointDamaged, EpochDone
from pbkd.runs.events import read_events, record_event
from pbkd.training.checkpoint import CheckpointStore

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from pbkd.core.events import Event


__all__ = [
    "checkpoint_store",
    "file_checksum",
    "finished_blocks",
    "first_epochs",
    "unrecorded",
]

_BLOCKWISE = ("teacher-fed", "retry", "student-fed")


def checkpoint_store(
    folder: Path, phase: str, name: str, *, writer: str | None = None
) -> CheckpointStore:
    """Return the checkpoints of a candidate, or of the whole student.

    Args:
        folder: The run folder.
        phase: The phase.
        name: The candidate, or `student`.
        writer: The writer that records an event for each damaged checkpoint; None records none.
    """

    def damaged(why: str) -> None:
        if writer:
            record_event(folder, writer, CheckpointDamaged(reason=why))

    return CheckpointStore(folder / "checkpoints" / phase, name, damaged)


def finished_blocks(folder: Path, phase: str) -> dict[str, BlockTrained]:
    """Return the final event of each candidate whose weight file is unchanged, by name.

    The weight file of a failed candidate is not checked: a second training may have written it.
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


def unrecorded(folder: Path, events: Iterable[Event]) -> list[str]:
    """Describe what a stopped run has trained beyond its events, and will train again.

    That is little after a kill, and more if event files were damaged or deleted.

    Args:
        folder: The run folder.
        events: All its events.

    Returns:
        A sentence for each file of weights, and for each checkpoint.
    """
    done = [event for event in events if isinstance(event, (BlockTrained, EpochDone))]
    blocks = {(e.phase, e.block) for e in done if isinstance(e, BlockTrained)}
    epochs = {(e.phase, e.block, str(e.epoch)) for e in done if isinstance(e, EpochDone)}
    paths = [
        path
        for phase in _BLOCKWISE
        for path in sorted((folder / phase).glob("*.safetensors"))
        if (phase, path.stem) not in blocks
    ]
    for path in sorted((folder / "checkpoints").glob("*/*.safetensors")):
        name, _, epoch = path.stem.rpartition(".")
        if epoch != "0" and (path.parent.name, name, epoch) not in epochs:
            paths.append(path)
    return [f"the event of '{path}' is missing." for path in paths]


def file_checksum(path: Path) -> str | None:
    """Return the CRC-32 of a file as 8 hexadecimal digits; None if there is no regular file."""
    return f"{zlib.crc32(path.read_bytes()):08x}" if path.is_file() else None


def first_epochs(
    folder: Path, phase: str, names: Collection[str], epochs: int, *, writer: str | None = None
) -> dict[str, int]:
    """Return the epoch from which each candidate continues.

    Teacher-fed candidates are independent: each continues from its own newest checkpoint.
    Student-fed ones depend on the outputs of the others, so all continue from the newest epoch of
    which every candidate has a checkpoint, even the finished ones.

    Args:
        folder: The run folder.
        phase: The phase.
        names: The candidates.
        epochs: Epochs of the phase.
        writer: The writer that records an event for each damaged checkpoint; None records none.

    Returns:
        The number of epochs done, by candidate; `epochs` for a finished one.
    """
    finished = finished_blocks(folder, phase)
    if all(name in finished for name in names):
        return dict.fromkeys(names, epochs)
    kept = {name: checkpoint_store(folder, phase, name, writer=writer).readable() for name in names}
    if phase == "student-fed":
        common = set.intersection(*({0, *known} for known in kept.values()))
        return dict.fromkeys(names, max(common))
    return {name: epochs if name in finished else max(kept[name], default=0) for name in names}
