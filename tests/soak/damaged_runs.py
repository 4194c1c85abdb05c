"""Damage every file of a run folder in every way: `python -m tests.soak.damaged_runs`.

Whatever was done to one file of a stopped or of a finished run, each command must give what it
gives for the whole folder, or say in a sentence what is wrong: never something else without a word,
never a traceback, and nothing may hang. The counts are printed as the table of
`docs/reliability.md`; `tests/attack/test_damage.py` tries a sample.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import random
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import torch

from pbkd import cli
from pbkd.api import load
from pbkd.core.files import read_json
from pbkd.errors import PbkdError
from tests.soak.stopped_runs import make_runs, quickly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "COMMANDS",
    "WAYS",
    "Outcome",
    "attempt",
    "every_file",
    "make_runs",
    "verdict",
    "whole_outcomes",
]

_MOST_SECONDS = 30


@dataclass(frozen=True)
class Outcome:
    """What a command did: `result` identifies what it gave; `told` is what it said was wrong."""

    result: str | None
    told: str = ""


def every_file(folder: Path) -> list[str]:
    """List the files of a run folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [str(path.relative_to(folder)) for path in files]


def _flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _halve(path: Path, _chance: random.Random) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _replace_by_folder(path: Path, _chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _replace_by_link(path: Path, _chance: random.Random) -> None:
    elsewhere = _home(path) / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def _home(path: Path) -> Path:
    return next(parent.parent for parent in path.parents if (parent / "identity.json").exists())


def _replace_by_pipe(path: Path, _chance: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


WAYS: dict[str, Callable[[Path, random.Random], None]] = {
    "deleted": lambda path, _chance: path.unlink(),
    "cut in half": _halve,
    "one bit flipped": _flip,
    "replaced by a folder": _replace_by_folder,
    "replaced by a link": _replace_by_link,
    "replaced by a pipe": _replace_by_pipe,
}


def _call(*arguments: object) -> tuple[int, str, str]:
    """Call the command line in this process; return its exit code and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        mock.patch.object(sys, "argv", ["pbkd", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


def _refused(code: int, err: str) -> Outcome:
    assert code == 2, f"exit code {code}: {err}"
    assert err.startswith("pbkd: "), err
    assert err.count("\n") == 1, err
    return Outcome(None, err)


def _resume(folder: Path) -> Outcome:
    code, out, err = _call("run", "--resume", folder)
    if code:
        return _refused(code, err)
    return Outcome(_student(folder), "\n".join(line for line in out.splitlines() if _tells(line)))


def _tells(line: str) -> bool:
    return any(word in line for word in ("damaged", "missing", "checksum", "again"))


def _student(folder: Path) -> str:
    """Identify a student and the figures that do not depend on the machine."""
    digest = hashlib.sha256((folder / "student" / "model.safetensors").read_bytes())
    result = read_json(folder / "result.json")
    figures = [result[key] for key in ("accuracies", "agreements", "validation", "change")]
    for block in (*result["blocks"], *result["candidates"]):
        figures.append({**block, "job_seconds": None})
    return f"{digest.hexdigest()} {figures} {read_json(folder / 'student' / 'config.json')}"


def _status(folder: Path) -> Outcome:
    code, out, err = _call("status", folder)
    if code:
        return _refused(code, err)
    lines = [line for line in out.splitlines() if not line.startswith("last event")]
    told = [line for line in lines if _tells(line)]
    return Outcome("\n".join(line for line in lines if not _tells(line)), "\n".join(told) + err)


def _report(folder: Path) -> Outcome:
    code, _out, err = _call("report", folder)
    if code:
        return _refused(code, err)
    page = re.sub(r"\b20\d\d-[\d: -]+", "", (folder / "report.html").read_text())
    return Outcome(page, err)


def _load(folder: Path) -> Outcome:
    try:
        student = load(folder)
    except PbkdError as error:
        return Outcome(None, str(error))
    with torch.no_grad():
        logits = student(torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8))
    return Outcome(hashlib.sha256(logits.numpy().tobytes()).hexdigest())


COMMANDS: dict[str, Callable[[Path], Outcome]] = {
    "resume": _resume,
    "status": _status,
    "report": _report,
    "load": _load,
}


@contextlib.contextmanager
def _in_time(what: str) -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError(f"{what}: no answer within {_MOST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(_MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def whole_outcomes(runs: dict[str, Path], home: Path) -> dict[tuple[str, str], Outcome]:
    """Return what each command gives for each whole folder."""
    outcomes: dict[tuple[str, str], Outcome] = {}
    for state, folder in runs.items():
        for command, act in COMMANDS.items():
            if (state, command) == ("finished", "resume"):
                outcomes[state, command] = outcomes["stopped late", command]
                continue
            with _copied(folder, home) as copied, quickly():
                outcomes[state, command] = act(copied)
    return outcomes


@contextlib.contextmanager
def _copied(folder: Path, home: Path) -> Iterator[Path]:
    """Copy a run to the same path every time, because a report shows it."""
    copied = home / "copy" / folder.name
    shutil.rmtree(home / "copy", ignore_errors=True)
    yield Path(shutil.copytree(folder, copied))
    shutil.rmtree(home / "copy", ignore_errors=True)


def attempt(folder: Path, home: Path, file: str, way: str, command: str, seed: int = 0) -> Outcome:
    """Damage one file of a copy of a run, and give the copy to a command."""
    with _copied(folder, home) as copied, quickly():
        chance = random.Random(f"{file} {way} {seed}")
        WAYS[way](copied / file, chance)
        with _in_time(f"{command} with '{file}' {way}"):
            return COMMANDS[command](copied)


def verdict(found: Outcome, whole: Outcome) -> str:
    """Name what came of damage: the same result, with or without a word on it, another, or none."""
    if found.result == whole.result:
        return "same" if found.told == whole.told else "same, told"
    if not found.told:
        return "SILENT"
    return "refused" if found.result is None else "other, told"


def _tried(folder: Path, home: Path, way: str, case: tuple[str, str, int], whole: Outcome) -> str:
    """Return the verdict, and what was said."""
    file, command, seed = case
    try:
        found = attempt(folder, home, file, way, command, seed)
    except Exception as error:
        return f"FAILED\t{type(error).__name__}: {error}"
    return f"{verdict(found, whole)}\t{found.told.strip()[:300]}"


def _cases(folder: Path, only: str, seeds: int) -> Iterator[tuple[str, str, int]]:
    for file in every_file(folder):
        for way in WAYS if only in file else ():
            for seed in range(seeds if way == "one bit flipped" else 1):
                yield file, way, seed


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="Flipped bits per file.")
    parser.add_argument("--only", default="", help="Part of the names of the files to damage.")
    arguments = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as name:
        runs = make_runs(Path(name))
        whole = whole_outcomes(runs, Path(name))
        for state, folder in runs.items():
            for file, way, seed in _cases(folder, arguments.only, arguments.seeds):
                for command in COMMANDS:
                    case = file, command, seed
                    came = _tried(folder, Path(name), way, case, whole[state, command])
                    counts[command, came.split("\t")[0]] += 1
                    print(state, file, way, command, came, sep="\t", flush=True)
    for (command, came), count in sorted(counts.items()):
        print(f"| {command} | {came} | {count} |")


if __name__ == "__main__":
    _main()
