"""Run folders with a hostile file in them, and what shows them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pbkd import cli
from pbkd.core.files import CHECKSUM
from pbkd.core.json_lines import json_line
from pbkd.core.terminal_text import terminal_text
from tests.soak.damage import WORDS, mutated, mutated_tree
from tests.soak.guard import guarded
from tests.soak.written_trees import written

if TYPE_CHECKING:
    import random

__all__ = ["HostileRun"]

_SHOWN = (".json", ".jsonl", ".yaml")
_VERBS = (
    ["status"], ["report", "--out", "page.html"], ["compare", "--csv", "runs.csv"],
    ["plan", "--against"], ["watch"],
)  # fmt: skip


class HostileRun:
    """A copy of a finished run, a file of which is replaced before each attempt."""

    def __init__(self, finished: Path, folder: Path) -> None:
        """Copy the files of `finished` that are text into `folder`."""
        self._folder = folder
        self._run = folder / "run"
        shutil.copytree(finished, self._run, ignore=shutil.ignore_patterns("*.safetensors"))

    @cached_property
    def _files(self) -> dict[Path, bytes]:
        paths = sorted(path for path in self._run.rglob("*") if path.suffix in _SHOWN)
        return {path: path.read_bytes() for path in paths}

    def attempt(self, chance: random.Random | None) -> str | None:
        """Show the run, with a hostile file if there is a `chance`; return the refusal, if any."""
        if chance is None:
            return self._show(["status"]) or self._show(["report", "--out", "page.html"])
        path = chance.choice(list(self._files))
        whole = self._files[path]
        path.write_bytes(_hostile(path, whole, chance))
        try:
            return self._show(list(chance.choice(_VERBS)))
        finally:
            path.write_bytes(whole)

    def _show(self, verb: list[str]) -> str | None:
        """Call the command line in this process; what it says of damage are sentences."""
        out, err = io.StringIO(), io.StringIO()
        before, here = sys.argv, Path.cwd()
        sys.argv = ["pbkd", *verb, str(self._run)]
        os.chdir(self._folder)
        try:
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                guarded(self._folder),
            ):
                cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            sys.argv = before
            os.chdir(here)
        shown, told = out.getvalue(), err.getvalue()
        assert all(line.startswith("pbkd: ") for line in told.splitlines()), told
        assert (code == 2) <= bool(told), "a refusal has a sentence"
        assert terminal_text(shown + told) == shown + told
        return told or None


def _hostile(path: Path, whole: bytes, chance: random.Random) -> bytes:
    """Change bytes, or, every second time, values, with checksums as an attacker makes them."""
    if chance.random() < 0.5:
        return mutated(whole, [*WORDS.split(b" "), *whole.split()[:40]], chance)
    if path.suffix == ".jsonl":
        lines: list[Any] = [json.loads(line) for line in whole.splitlines()]
        changed = mutated_tree(lines, chance)
        return b"".join(_line(line) for line in changed) if isinstance(changed, list) else b""
    form = path.suffix[1:]
    tree = yaml.safe_load(whole) if form == "yaml" else json.loads(whole)
    return written(mutated_tree(tree, chance), form)


def _line(tree: Any) -> bytes:
    if not isinstance(tree, dict):
        return json.dumps(tree).encode() + b"\n"
    return json_line({key: value for key, value in tree.items() if key not in ("crc32", CHECKSUM)})
