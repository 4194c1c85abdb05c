"""Calls of an exporter, with checks of what it wrote and of what it reads back."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pbkd.errors import PLUGIN_FAILURES, ExportError, PbkdError, first_line
from pbkd.plugin.attribution import describe_strategy

if TYPE_CHECKING:
    from pbkd.protocols import Exporter, ExportSubject


__all__ = ["Probe", "call_write", "largest_difference", "probes", "without_weights"]

_TOLERANCE = 1e-4
"""Maximum difference, as a share of the largest logit: runtimes order sums differently."""
_BATCHES = (1, 5)


@dataclass(frozen=True)
class Probe:
    """A batch of a network's input, and its logits."""

    batch: Tensor
    logits: Tensor


def probes(subject: ExportSubject) -> list[Probe]:
    """Compute the logits of two batches, before an exporter can change the network."""
    found = []
    for size in _BATCHES:
        generator = torch.Generator().manual_seed(size)
        batch = torch.randn(size, *subject.example.shape[1:], generator=generator)
        if subject.example.dtype == torch.uint8:
            batch = (80 * batch + 128).clamp(0, 255).to(torch.uint8)
        found.append(Probe(batch, subject.network(batch.clone()).clone()))
    return found


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


def largest_difference(
    exporter: Exporter, subject: ExportSubject, path: Path, expected: list[Probe]
) -> float:
    """Read a file back and compare its logits.

    Args:
        exporter: The exporter that wrote it.
        subject: What was written; the exporter gets it without weights.
        path: The file.
        expected: The `probes` of the network.

    Raises:
        ExportError: The exporter failed, or the logits differ.
    """
    try:
        loaded = exporter.read(path, subject)
        found = [loaded(probe.batch.clone()) for probe in expected]
    except PLUGIN_FAILURES as error:
        raise _failure(exporter, "read", error) from error
    worst = 0.0
    for probe, logits in zip(expected, found, strict=True):
        _check_logits(exporter, logits, probe.logits)
        difference = float((logits.detach().cpu() - probe.logits).abs().max())
        most = float(probe.logits.abs().max())
        if not difference <= _TOLERANCE * most:
            raise ExportError(
                f"what {_who(exporter)} wrote gives other outputs than the student, by"
                f" {difference:.2g} of {most:.2g}: it is not to be used."
            )
        worst = max(worst, difference)
    return worst


def without_weights(subject: ExportSubject) -> ExportSubject:
    """Copy a subject with weights of zero, so that only a file can bring them back."""
    network = copy.deepcopy(subject.network)
    for tensor in network.state_dict().values():
        tensor.zero_()
    return replace(subject, network=network, example=subject.example.clone())


def _check_logits(exporter: Exporter, logits: Any, expected: Tensor) -> None:
    if not isinstance(logits, Tensor):
        raise _wrong(exporter, "read", f"a function that gives {type(logits).__name__}, no tensor")
    if logits.shape != expected.shape:
        shapes = f"{tuple(logits.shape)} for {tuple(expected.shape)}"
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
        raise ExportError(f"{_who(exporter)} wrote no '{missing[0]}': its write must, or raise.")
    if _stamp(path) == before or not _size(path):
        raise ExportError(f"{_who(exporter)} wrote nothing to '{path}': its write must, or raise.")
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
        f"{_who(exporter)} failed in {method} ({reason}): choose another format, such as {other}."
    )


def _wrong(exporter: Exporter, method: str, what: str) -> ExportError:
    return ExportError(f"{_who(exporter)} returns from {method} {what}: it must keep the protocol.")


def _who(exporter: Exporter) -> str:
    return describe_strategy("exporter", exporter)
