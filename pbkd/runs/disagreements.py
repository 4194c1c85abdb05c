"""Test images that the student classifies differently from its teacher, with a few pictures."""

from __future__ import annotations

import base64
import io
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pbkd.core.files import write_json
from pbkd.core.records import read_record
from pbkd.errors import RunFolderError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from pbkd.data.datasets import Split


__all__ = ["Answer", "Changes", "find_changes", "read_changes", "write_changes"]

_FILE = "changes.json"
_MOST_CONFUSIONS, _MOST_PICTURES, _MOST_BYTES = 20, 12, 2**15
_SIDE = 64  # pixels
_MAGIC = b"\x89PNG\r\n"


@dataclass(frozen=True)
class Answer:
    """The classes of an image, or of several images with the same classes.

    Attributes:
        label: The true class; None without labels.
        teacher: The teacher's prediction.
        student: The student's prediction.
        count: Number of images.
        png: A thumbnail of a single image, or empty.
    """

    label: int | None
    teacher: int
    student: int
    count: int = 1
    png: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """The predictions that differ between teacher and student.

    Attributes:
        images: Number of test images.
        changed: Number of images with different predictions.
        gained: Number of these that only the student predicts correctly; None without labels.
        lost: Number of these that only the teacher predicts correctly; None without labels.
        confusions: The most frequent changes.
        examples: Some images.
    """

    images: int
    changed: int
    gained: int | None
    lost: int | None
    confusions: tuple[Answer, ...]
    examples: tuple[Answer, ...]


def find_changes(split: Split, teacher: Tensor, student: Tensor, *, labelled: bool) -> Changes:
    """Compare the predictions of teacher and student.

    Args:
        split: The images and labels.
        teacher: The teacher's classes, int64 of shape (len(split),).
        student: The student's classes, likewise.
        labelled: Whether the labels are true ones.

    Returns:
        The changes. Examples are images that only the teacher predicts correctly, then others, each
        of another class as far as there are any.
    """
    labels = split.labels
    changed = teacher != student
    lost, gained = changed & (teacher == labels), changed & (student == labels)
    rows = [*_by_turns(lost, labels), *_by_turns(changed & ~lost, labels)]
    answers = [
        Answer(int(labels[row]) if labelled else None, int(teacher[row]), int(student[row]))
        for row in rows
    ]
    return Changes(
        images=len(split),
        changed=len(rows),
        gained=int(gained.sum()) if labelled else None,
        lost=int(lost.sum()) if labelled else None,
        confusions=tuple(
            Answer(answer.label, answer.teacher, answer.student, count)
            for answer, count in Counter(answers).most_common(_MOST_CONFUSIONS)
        ),
        examples=tuple(
            Answer(answer.label, answer.teacher, answer.student, png=_picture(split, row, labels))
            for row, answer in zip(rows[:_MOST_PICTURES], answers, strict=False)
        ),
    )


def _by_turns(chosen: Tensor, labels: Tensor) -> list[int]:
    """List the chosen rows: the first of each class, then the second of each, and so on."""
    seen: Counter[int] = Counter()
    turns: dict[int, int] = {}
    for row in chosen.nonzero().flatten().tolist():
        label = int(labels[row])
        turns[row] = seen[label]
        seen[label] += 1
    return sorted(turns, key=turns.__getitem__)


def write_changes(folder: Path, changes: Changes) -> None:
    """Write `changes.json` to a run folder, with pictures in base64."""
    tree = asdict(changes)
    for example in tree["examples"]:
        example["png"] = base64.b64encode(example["png"]).decode()
    for confusion in tree["confusions"]:
        del confusion["png"]
    write_json(folder / _FILE, tree)


def read_changes(folder: Path) -> Changes:
    """Read the changes of a run folder, which may be untrusted.

    Raises:
        RunFolderError: The file is missing or damaged.
    """
    path = folder / _FILE
    record: _Record = read_record(path, _Record, "a list of changes")
    try:
        return Changes(
            images=_count(record.images),
            changed=_count(record.changed),
            gained=None if record.gained is None else _count(record.gained),
            lost=None if record.lost is None else _count(record.lost),
            confusions=tuple(map(_answer, record.confusions[:_MOST_CONFUSIONS])),
            examples=tuple(map(_answer, record.examples[:_MOST_PICTURES])),
        )
    except ValueError as error:
        raise RunFolderError(
            f"'{path}' is not a list of changes of this version of pbkd."
        ) from error


@dataclass(frozen=True, kw_only=True)
class _AnswerRecord:
    label: int | None
    teacher: int
    student: int
    count: int = 1
    png: str = ""


@dataclass(frozen=True, kw_only=True)
class _Record:
    """The content of `changes.json`."""

    images: int
    changed: int
    gained: int | None
    lost: int | None
    confusions: tuple[_AnswerRecord, ...]
    examples: tuple[_AnswerRecord, ...]


def _answer(record: _AnswerRecord) -> Answer:
    label = None if record.label is None else _count(record.label)
    png = base64.b64decode(record.png, validate=True)
    if png and not (png.startswith(_MAGIC) and len(png) <= _MOST_BYTES):
        raise ValueError("a picture is no small PNG")
    count = _count(record.count)
    return Answer(label, _count(record.teacher), _count(record.student), count, png)


def _count(value: int) -> int:
    """Check a count or a class; raises `ValueError`."""
    if not 0 <= value <= 10**15:
        raise ValueError("neither a count nor a class")
    return value


def _picture(split: Split, row: int, like: Tensor) -> bytes:
    """Return a thumbnail of an 8-bit image with one or three channels; empty for other images."""
    from PIL import Image

    image = split.images(like.new_tensor([row]))[0]
    channels = image.shape[0]
    if image.dtype.is_floating_point or channels not in (1, 3):
        return b""
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
