"""Calls of an exporter, with checks of what it wrote and of what it reads back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pbkd.errors import PLUGIN_FAILURES, ExportError, PbkdError, first_line
from pbkd.plugin.attribution import describe_strategy

if TYPE_CHECKING:
    from pbkd.protocols import Exporter, ExportSubject


__all__ = [
    "call_write",
    "read_back",
    "who",
    "without_weights",
]


def call_write(
    exporter: Exporter, subject: ExportSubject, path: Path
) -> tuple[list[Path], str | None]:
    """Let an exporter write a network.

    Returns:
        The paths that it wrote, and its remark.

    Raises:
        ExportError: It failed, or did not write what it returns.
    """
    before = _stamp(path)
    try:
        answer = exporter.write(subject, path)
    except PLUGIN_FAILURES as error:
        raise _failure(exporter, "write", error) from error
    return _checked_answer(exporter, answer, path, before)


def read_back(exporter: Exporter, path: Path, subject: ExportSubject) -> Callable[[Tensor], Tensor]:
    """Read a file back.

    Args:
        exporter: The exporter that wrote it.
        path: The file.
        subject: What was written, without weights.

    Returns:
        A function of a batch. It raises `ExportError` if the exporter's fails, or returns no logits
        of the number of classes.

    Raises:
        ExportError: The exporter failed.
    """
    try:
        loaded = exporter.read(path, subject)
    except PLUGIN_FAILURES as error:
        raise _failure(exporter, "read", error) from error
    classes = subject.network(subject.example.clone()).shape[1]

    def run(batch: Tensor) -> Tensor:
        try:
            logits = loaded(batch)
        except PLUGIN_FAILURES as error:
            raise _failure(exporter, "read", error) from error
        _check_logits(exporter, logits, (len(batch), classes))
        return logits.detach().cpu()

    return run


def without_weights(subject: ExportSubject) -> ExportSubject:
    """Copy a subject with weights of zero, so that only a file can bring them back."""
    network = copy.deepcopy(subject.network)
    for tensor in network.state_dict().values():
        tensor.zero_()
    return replace(subject, network=network, example=subject.example.clone())


def _check_logits(exporter: Exporter, logits: Any, expected: tuple[int, int]) -> None:
    if not isinstance(logits, Tensor):
        raise _wrong(exporter, "read", f"a function that gives {type(logits).__name__}, no tensor")
    if logits.shape != expected:
        shapes = f"{tuple(logits.shape)} for {expected}"
        raise _wrong(exporter, "read", f"a function that gives logits of the shape {shapes}")


def _checked_answer(
    exporter: Exporter, answer: Any, path: Path, before: object
) -> tuple[list[Path], str | None]:
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise _wrong(exporter, "write", f"{type(answer).__name__}, not the paths and a remark")
    paths, note = answer
    if isinstance(paths, (str, Path)) or not isinstance(paths, Iterable):
        raise _wrong(exporter, "write", f"{type(paths).__name__}, not a list of paths")
    written = list(paths)
    if not all(isinstance(one, Path) for one in written):
        raise _wrong(exporter, "write", "paths that are not all of the type pathlib.Path")
    if not (note is None or isinstance(note, str)):
        raise _wrong(exporter, "write", f"{type(note).__name__} as its remark, not text or None")
    if missing := [one for one in (path, *written) if not one.exists()]:
        raise ExportError(f"{who(exporter)} wrote no '{missing[0]}': its write must, or raise.")
    if _stamp(path) == before or not _size(path):
        raise ExportError(f"{who(exporter)} wrote nothing to '{path}': its write must, or raise.")
    if path.resolve() not in [one.resolve() for one in written]:
        raise _wrong(exporter, "write", f"paths without '{path}', the one that it is to write")
    return written, note


def _stamp(path: Path) -> object:
    """Return what changes when a file is written; the files of a folder count."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = [(one, one.stat()) for one in files if one.exists()]
    return [(one, stat.st_ino, stat.st_mtime_ns, stat.st_size) for one, stat in stats]


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(one.stat().st_size for one in files if one.is_file())


def _failure(exporter: Exporter, method: str, error: BaseException) -> PbkdError:
    """Turn what an exporter raised into one sentence."""
    if isinstance(error, PbkdError):
        return error
    if isinstance(error, ImportError) and error.name:
        return ExportError(f"'{exporter.name}' needs the package {error.name}: install it.")
    reason = f"{type(error).__name__}: {first_line(error)}".rstrip(".")
    other = "onnx" if exporter.name == "torchscript" else "torchscript"
    return ExportError(
        f"{who(exporter)} failed in {method} ({reason}): choose another format, such as {other}."
    )


def _wrong(exporter: Exporter, method: str, what: str) -> ExportError:
    return ExportError(f"{who(exporter)} returns from {method} {what}: it must keep the protocol.")


def who(exporter: Exporter) -> str:
    """Name an exporter in a message."""
    return describe_strategy("exporter", exporter)
