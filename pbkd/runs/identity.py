"""The identity of a run: everything that its result depends on, compared on resumption."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from pbkd.core.files import write_json
from pbkd.core.records import read_record
from pbkd.data.checked_split import is_in_memory
from pbkd.errors import DataError, IdentityError
from pbkd.models.weights import fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.config.schema import RunConfig
    from pbkd.data.datasets import Dataset
    from pbkd.training.task import DistillationTask


__all__ = ["check_choices", "check_identity", "check_inputs", "check_rows", "write_identity"]

_FILE = "identity.json"
# These settings do not affect the result. Teacher and data are compared by content: their files
# may have moved.
_FREE = (
    "teacher", "partitioner", "scheduler", "launcher", "meters", "observers", "exports", "plugins",
    "cache_gigabytes", "workers", "threads", "device", "allow_chance", "out",
)  # fmt: skip
_FREE_DATA = ("path", "download")
_ROWS = 256


def write_identity(folder: Path, config: RunConfig, task: DistillationTask) -> None:
    """Write the identity of a run; its presence in the folder shows that training may start."""
    write_json(folder / _FILE, {"choices": _choices(config), "inputs": _inputs(task)})


def check_choices(folder: Path, config: RunConfig) -> None:
    """Check that a configuration, as it is given, may leave the result of a run unchanged.

    What it leaves open is checked when it is resolved, by `check_identity`.

    Raises:
        IdentityError: A setting differs.
    """
    now = _choices(config)
    left_open = {key: None for key, value in now.items() if value is None}
    _check(folder, {**_read(folder).choices, **left_open}, now)


def check_identity(folder: Path, config: RunConfig, task: DistillationTask) -> None:
    """Check configuration, teacher, data and partition against a run.

    Raises:
        IdentityError: One of them differs.
    """
    _check(folder, _read(folder).choices, _choices(config))
    check_inputs(folder, task)


def check_inputs(folder: Path, task: DistillationTask) -> None:
    """Check teacher, data and partition against a run.

    Raises:
        IdentityError: One of them differs.
    """
    _check(folder, _read(folder).inputs, _inputs(task))


def check_rows(folder: Path, data: Dataset) -> None:
    """Check in a worker that its data has the rows that the host's has.

    Labels are compared, and images in memory. Images that are decoded may differ in a bit between
    machines.

    Raises:
        DataError: They differ.
    """
    if not (folder / _FILE).is_file():
        return
    if _read(folder).inputs["data.rows"] != _rows_fingerprint(data):
        raise DataError(
            f"the data '{data.name}' gave other images or labels, or another order, to a worker"
            " than to the host: its source must return the same in every process."
        )


@dataclass(frozen=True)
class _Identity:
    """The content of `identity.json`: values by key."""

    choices: Mapping[str, Any]
    inputs: Mapping[str, Any]


def _read(folder: Path) -> _Identity:
    identity: _Identity = read_record(folder / _FILE, _Identity, "the identity of a run")
    return identity


def _choices(config: RunConfig) -> dict[str, Any]:
    tree = {key: value for key, value in asdict(config).items() if key not in _FREE}
    tree["data"] = {key: value for key, value in config.data.items() if key not in _FREE_DATA}
    return _flat(tree)


def _inputs(task: DistillationTask) -> dict[str, Any]:
    teacher = task.teacher
    return _flat(
        {
            "teacher": {
                "name": teacher.name,
                "weights": fingerprint(teacher.network),
                "mean": list(teacher.normalization.mean),
                "std": list(teacher.normalization.std),
            },
            "data": {
                "content": _data_fingerprint(task.data, task),
                "rows": _rows_fingerprint(task.data),
            },
            "partitioner": dict(task.partitioner),
        }
    )


def _data_fingerprint(data: Dataset, task: DistillationTask) -> str:
    """Return a digest of all labels and of the first training images."""
    digest = hashlib.sha256()
    for split in (data.train, data.validation, data.test):
        digest.update(f"{len(split)} ".encode() + split.labels.cpu().numpy().tobytes())
    digest.update(task.images.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _rows_fingerprint(data: Dataset) -> str:
    """Return a digest of all labels, and of some training images in memory."""
    digest = hashlib.sha256()
    for split in (data.train, data.validation, data.test) if data.labelled else (data.train,):
        digest.update(f"{len(split)} ".encode() + split.labels.cpu().numpy().tobytes())
    if is_in_memory(data.train):
        rows = torch.linspace(0, len(data.train) - 1, min(_ROWS, len(data.train))).long()
        digest.update(data.train.images(rows).numpy().tobytes())
    return digest.hexdigest()


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _check(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    differences = [
        f"{key} was {_short(before.get(key))} and is {_short(now.get(key))}"
        for key in (*before, *(key for key in now if key not in before))
        if before.get(key) != now.get(key)
    ]
    if differences:
        raise IdentityError(
            f"the run in '{folder}' was begun with what gives another result:"
            f" {'; '.join(differences)}."
        )


def _short(value: object) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 20 else f"{text[:12]}…"
