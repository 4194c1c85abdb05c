"""A run's result: JSON, CSV and model card in the run folder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pbkd.core.files import write_file, write_json
from pbkd.errors import RunFolderError
from pbkd.report.blocks_csv import blocks_csv
from pbkd.report.card import card
from pbkd.report.class_scores import classes_csv
from pbkd.report.exports import exports_csv
from pbkd.runs.checksums import MODEL_CARD, check_files, update_checksum, write_checksums
from pbkd.runs.finished import read_finished

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pbkd.core.results import ExportResult, RunResult

__all__ = ["add_exports", "rewrite_card", "write_report"]

_EXPORTS = "exports.csv"


def write_report(result: RunResult, folder: Path) -> None:
    """Write the files of a result to the run folder, last the model card `README.md`.

    The others are `result.json`, `blocks.csv` and, for labelled data, `classes.csv`; `exports.csv`
    if the student was exported; and `checksums.json`, with the checksums of these, of the
    configuration and of the student.

    Args:
        result: The result of the run.
        folder: The run folder.

    Raises:
        RunFolderError: A file cannot be written.
    """
    write_json(folder / "result.json", result.to_dict())
    contents = {"blocks.csv": blocks_csv(result.blocks).encode()}
    if result.classes:
        contents["classes.csv"] = classes_csv(result.classes).encode()
    if result.exports:
        contents[_EXPORTS] = exports_csv(result.exports).encode()
    contents[MODEL_CARD] = card(result).encode()
    write_checksums(folder, contents)
    for name, content in contents.items():
        write_file(folder / name, content)


def add_exports(folder: Path, exports: Sequence[ExportResult]) -> RunResult:
    """Add exports to a finished run's `result.json`, `exports.csv` and model card.

    Args:
        folder: The run folder.
        exports: The exports; each replaces an earlier one of its network and format.

    Returns:
        The result with the exports.

    Raises:
        RunFolderError: A file is damaged, or cannot be written.
    """
    result = read_finished(folder).result
    known = {(one.network, one.format): one for one in (*result.exports, *exports)}
    ordered = sorted(known.values(), key=lambda one: one.network != "teacher")
    result = replace(result, exports=tuple(ordered))
    content = exports_csv(result.exports).encode()
    write_json(folder / "result.json", result.to_dict())
    update_checksum(folder, _EXPORTS, content)
    write_file(folder / _EXPORTS, content)
    rewrite_card(folder)
    return result


def rewrite_card(folder: Path) -> None:
    """Write the model card of a finished run again, with the baselines that were added since.

    A card that somebody edited is left as it is.

    Raises:
        RunFolderError: A file cannot be written.
    """
    try:
        check_files(folder, [MODEL_CARD])
    except RunFolderError:
        return
    run = read_finished(folder)
    content = card(run.result, run).encode()
    update_checksum(folder, MODEL_CARD, content)
    write_file(folder / MODEL_CARD, content)
