"""Files of weights as training programs leave them, read without running pickled code."""

from __future__ import annotations

import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pbkd.core.archives import expansion_of
from pbkd.core.files import read_foreign_json
from pbkd.errors import WeightsError
from pbkd.models.inert_pickle import inert_pickle_module
from pbkd.models.weights import read_tensors

__all__ = ["Checkpoint", "read_checkpoint"]

_IN_FOLDER = (
    "model.safetensors", "pytorch_model.bin",
    "model.safetensors.index.json", "pytorch_model.bin.index.json",
)  # fmt: skip
_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar")
_SPARE_BYTES = 2**26
_MOST_PLACES = 2**22
_DEPTH = 10  # of the deepest walk through a content
_LEGACY = 0x1950A86A20F9469CFC6C  # the number with which torch before 1.6 begins a file
_KINDS = {
    b"version https://git-lfs": "is a pointer of git-LFS, not the file: run `git lfs pull`",
    b"<": "is a web page or XML, not a file of weights: download the file itself",
    b"\x1f\x8b": "is compressed with gzip: unpack it",
    b"BZh": "is compressed with bzip2: unpack it",
    b"\xfd7zXZ": "is compressed with xz: unpack it",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd: unpack it",
    b"7z\xbc\xaf": "is a 7z archive: unpack it",
    b"Rar!": "is a RAR archive: unpack it",
    b"\x89HDF": "is an HDF5 file, as Keras writes: only weights of PyTorch can be read",
    b"\x93NUMPY": "is an array of numpy: only weights of PyTorch can be read",
    b"GGUF": "is a GGUF file: only weights of PyTorch can be read",
    b"{": "is JSON, not a file of weights",
}
"""The first bytes of files that are no weights, and what to say of them."""


@dataclass(frozen=True)
class Checkpoint:
    """The content of a file of weights.

    Attributes:
        path: The file.
        content: Dictionaries with tensors in them, at any depth.
    """

    path: Path
    content: Any


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file of weights, or a folder with one as on the Hugging Face hub.

    Args:
        path: A safetensors file, a file saved by torch, the index of several, or such a folder.

    Returns:
        The content, with all tensors on the CPU.

    Raises:
        WeightsError: If there is no such file, or it is none of these, or damaged.
    """
    if path.is_dir():
        path = _file_in(path)
    if not path.is_file():
        raise WeightsError(f"there is no file of weights '{path}'.")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise WeightsError(f"'{path}' cannot be read: {error.strerror}.") from error
    if path.suffix == ".safetensors" or _is_safetensors(head, path.stat().st_size):
        return Checkpoint(path, read_tensors(path)[0])
    if path.name.endswith(".index.json"):
        return _read_shards(path)
    _check_kind(path, head)
    return _read_torch(path)


def _file_in(folder: Path) -> Path:
    """Return the file of weights in a folder with the layout of the Hugging Face hub."""
    for name in _IN_FOLDER:
        if (folder / name).is_file():
            return folder / name
    if any(folder.glob("*.distcp")):
        raise WeightsError(
            f"'{folder}' is a distributed checkpoint: convert it with"
            " `python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE`."
        )
    files = sorted(path.name for path in folder.iterdir() if path.suffix in _SUFFIXES)
    hint = f", such as {', '.join(files[:3])}" if files else ""
    raise WeightsError(f"'{folder}' is a folder: name the file of weights{hint}.")


def _is_safetensors(head: bytes, size: int) -> bool:
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") < size


def _read_shards(index: Path) -> Checkpoint:
    """Read all files that an index of the Hugging Face hub names, from the index's folder."""
    tree = read_foreign_json(index)
    names = tree.get("weight_map") if isinstance(tree, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise WeightsError(f"'{index}' is no index of files of weights.")
    if any(name.endswith(".index.json") for name in names.values()):
        raise WeightsError(f"'{index}' names an index instead of a file of weights.")
    shards = [read_checkpoint(index.parent / Path(name).name) for name in sorted({*names.values()})]
    tensors: dict[str, Any] = {}
    for shard in shards:
        tensors |= shard.content if isinstance(shard.content, dict) else {}
    return Checkpoint(index, tensors)


def _check_kind(path: Path, head: bytes) -> None:
    """Refuse files that are no weights of PyTorch by what they are."""
    if not head.strip():
        raise WeightsError(f"'{path}' is empty: copy or download it again.")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    kind = next((text for magic, text in _KINDS.items() if start.startswith(magic)), None)
    if kind is None and head[:2] == b"PK":
        kind = _kind_of_zip(path)
    if kind is None and head[257:262] == b"ustar":
        kind = _kind_of_tar(path)
    if kind is None and path.suffix in (".onnx", ".pb", ".tflite", ".msgpack"):
        kind = f"is a '{path.suffix}' file: only weights of PyTorch can be read"
    if kind:
        raise WeightsError(f"'{path}' {kind}.")


def _kind_of_zip(path: Path) -> str | None:
    """Say what a zip archive is; None if torch.save wrote it."""
    try:
        if not zipfile.is_zipfile(path):
            return "is cut off or damaged: copy or download it again"
        with zipfile.ZipFile(path) as archive:
            names, expansion = archive.namelist(), expansion_of(archive)
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return "is damaged: copy or download it again"
    if expansion:
        return f"is no file of torch.save, which does not compress: {expansion}"
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        return (
            "is a TorchScript archive, which holds code: save"
            " torch.jit.load(FILE).state_dict() with torch.save instead"
        )
    if any(name.endswith(("serialized_exported_program.json", "archive_format")) for name in names):
        return (
            "is a program of torch.export: save torch.export.load(FILE).state_dict with torch.save"
            " instead"
        )
    if any(name.endswith("data.pkl") for name in names):
        return None
    return "is a zip archive, but no file of torch.save: unpack it"


def _kind_of_tar(path: Path) -> str:
    """Say what a tar archive is: torch before 0.2 saved as tar."""
    try:
        with tarfile.open(path) as archive:
            if {"storages", "tensors", "pickle"} <= set(archive.getnames()):
                return (
                    "was saved by a version of torch that is no longer read: load it with torch"
                    " below 2.6 and save its state_dict()"
                )
    except (OSError, tarfile.TarError):
        return "is a damaged tar archive: copy or download it again"
    return "is a tar archive: unpack it"


def _read_torch(path: Path) -> Checkpoint:
    """Read a file of torch.save, or a pickled dictionary of arrays."""
    pickles: Any = inert_pickle_module(path)
    try:
        is_zip = _is_bounded_zip(path)
        content = None if is_zip else _first_object(path, pickles)
        if content is None:
            content = torch.load(
                path, map_location="cpu", weights_only=False, pickle_module=pickles
            )
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(
            f"'{path}' cannot be read as plain weights ({type(error).__name__}): it is damaged, or"
            " no file of weights; save model.state_dict() with torch.save, or use safetensors."
        ) from error
    if _places(content, {}) > _MOST_PLACES:
        raise WeightsError(f"'{path}' repeats its objects too often: it is no file of weights.")
    return Checkpoint(path, content)


def _is_bounded_zip(path: Path) -> bool:
    """Whether a file is a zip archive; raise `ValueError` if it expands, or torch reads another."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return False
    with zipfile.ZipFile(path) as archive:
        names = [entry.filename for entry in archive.infolist()]
        size = sum(entry.file_size for entry in archive.infolist())
    if size > 4 * path.stat().st_size + _SPARE_BYTES or len(set(names)) < len(names):
        raise ValueError("its entries overlap or expand")
    records = set(torch._C.PyTorchFileReader(str(path)).get_all_records())
    if records != {name.partition("/")[2] for name in names}:
        raise ValueError("it can be read in two ways")
    return True


def _places(content: Any, seen: dict[tuple[int, int], int], depth: int = 0) -> int:
    """Count the places of a content in a walk; objects that hold each other count every time."""
    if not isinstance(content, (dict, list, tuple)) or depth > _DEPTH:
        return 1
    key = (id(content), depth)
    if key not in seen:
        values = content.values() if isinstance(content, dict) else content
        seen[key] = 1 + sum(_places(value, seen, depth + 1) for value in values)
    return seen[key]


def _first_object(path: Path, pickles: Any) -> Any:
    """Return the object that is pickled in a file; None if torch saved it before version 1.6."""
    with path.open("rb") as file:
        content = pickles.load(file, encoding="utf-8")
    return None if content == _LEGACY else content
