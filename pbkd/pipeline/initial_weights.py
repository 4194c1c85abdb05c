"""The start of a run's replacements: their builders and initial weights.

They are written once. Initial weights are built again if they are damaged.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pbkd.core.files import read_json, write_json
from pbkd.core.records import read_record
from pbkd.errors import RunFolderError, WeightsError
from pbkd.models.replacement import read_replacement
from pbkd.models.weights import encode_weights, read_weights, write_weights

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from pbkd.planning.plan import Plan


__all__ = [
    "read_initial_weights",
    "recorded_builders",
    "restore_initial_weights",
    "write_builders",
    "write_initial_weights",
]

_FOLDER, _CHECKSUMS, _BUILDERS = "initial", "checksums.json", "builders.json"


def write_builders(folder: Path, plan: Plan) -> None:
    """Write the builder of each candidate with the options that it chose."""
    write_json(folder / _FOLDER / _BUILDERS, {p.name: dict(p.builder) for p in plan.trained})


def recorded_builders(folder: Path) -> dict[str, dict[str, Any]]:
    """Read what `write_builders` wrote; empty if that is missing or damaged.

    Without the record the builders choose once more, which gives the same on the same machine.

    Args:
        folder: The folder of a run that is resumed.

    Returns:
        Name and options of the builder of each candidate.
    """
    try:
        found: dict[str, dict[str, Any]] = read_record(
            folder / _FOLDER / _BUILDERS, Mapping[str, dict[str, Any]], "a record of builders"
        )
    except RunFolderError:
        return {}
    return found


def write_initial_weights(folder: Path, replacements: Mapping[str, nn.Module]) -> None:
    """Write untrained replacements to the folder of a new run, with a list of their checksums.

    Args:
        folder: The run folder.
        replacements: The replacements, by candidate.
    """
    checksums = {}
    for name, replacement in replacements.items():
        write_weights(_path(folder, name), replacement.state_dict())
        checksums[name] = _checksum(_path(folder, name).read_bytes())
    write_json(folder / _FOLDER / _CHECKSUMS, checksums)


def restore_initial_weights(folder: Path, replacements: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """Write missing and damaged initial weights again, from replacements that were built anew.

    Initial weights depend on the run's seed, the teacher and the builder alone, so that what is
    written again equals the original; the list of checksums shows whether it does.

    Args:
        folder: The folder of a run that is resumed.
        replacements: The untrained replacements, by candidate.

    Returns:
        A sentence for each file that was written again.

    Raises:
        RunFolderError: If a file cannot be built again as it was.
    """
    recorded = _recorded(folder)
    restored = []
    for name, replacement in replacements.items():
        path = _path(folder, name)
        found = _checksum(path.read_bytes()) if path.is_file() else None
        if found is not None and found == recorded.get(name):
            continue
        built = _checksum(encode_weights(replacement.state_dict()))
        if built != recorded.get(name, built) or (
            name not in recorded and found != built and _is_whole(path)
        ):
            raise RunFolderError(
                f"'{path}' is damaged, and this machine builds other initial weights: resume the"
                " run where it was begun, or begin it anew."
            )
        if found != built:
            write_weights(path, replacement.state_dict())
            restored.append(f"The initial weights of '{name}' were damaged and were built again.")
    return tuple(restored)


def read_initial_weights(folder: Path, replacement: nn.Module, name: str) -> nn.Module:
    """Load the initial weights of a candidate of a finished run.

    Args:
        folder: The run folder.
        replacement: The candidate's module.
        name: The candidate.

    Returns:
        The module itself.

    Raises:
        RunFolderError: If the file is missing, or not as the run wrote it.
        WeightsError: If it does not fit the module.
    """
    path = _path(folder, name)
    if not path.is_file():
        raise RunFolderError(f"'{path}' is missing: the run's start cannot be built without it.")
    if _checksum(path.read_bytes()) != _recorded(folder).get(name):
        raise RunFolderError(f"'{path}' is not as the run wrote it: put the original back.")
    return read_replacement(path.parent, replacement, name)


def _recorded(folder: Path) -> dict[str, Any]:
    """Return the checksums by candidate; empty if their list is damaged."""
    try:
        return dict(read_json(folder / _FOLDER / _CHECKSUMS))
    except (RunFolderError, TypeError, ValueError):
        return {}


def _is_whole(path: Path) -> bool:
    try:
        read_weights(path)
    except WeightsError:
        return False
    return True


def _path(folder: Path, name: str) -> Path:
    return folder / _FOLDER / f"{name}.safetensors"


def _checksum(content: bytes) -> int:
    return zlib.crc32(content)
