"""Hostile files, options and run folders at random: `python -m tests.soak.fuzz --inputs N`.

Each input must be taken, or refused with a `PbkdError`, within seconds. Nothing else may be raised,
no code run, no program started, and nothing written outside. `tests/attack/test_fuzz.py` tries the
first thousand.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import yaml

from pbkd.errors import PbkdError
from tests.soak.array_kinds import ARRAY_KINDS
from tests.soak.damage import WORDS, mutated, mutated_tree
from tests.soak.guard import MODULE, guarded
from tests.soak.text_kinds import TEXT_KINDS
from tests.soak.written_trees import written

__all__ = ["KINDS", "attempt", "hostile", "original"]

KINDS = {**ARRAY_KINDS, **TEXT_KINDS}


@functools.cache
def original(kind: str) -> tuple[bytes, Any]:
    """Return a whole file of a kind, and the tree in it if it has one."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / KINDS[kind].name
        KINDS[kind].make(path)
        content = path.read_bytes()
    readers = {"json": json.loads, "yaml": yaml.safe_load}
    form = KINDS[kind].form
    return content, readers[form](content) if form else None


def hostile(kind: str, chance: random.Random) -> bytes:
    """Return a damaged file of a kind: of one with a tree, every second time its values."""
    content, tree = original(kind)
    form = KINDS[kind].form
    if form and chance.random() < 0.5:
        return written(mutated_tree(tree, chance), form)
    return mutated(content, [*WORDS.split(b" "), *content.split()[:40]], chance)


def attempt(kind: str, content: bytes, folder: Path) -> str | None:
    """Give `content` to what reads files of a kind; return the refusal, if there is one."""
    home = folder / kind
    if not home.exists():
        home.mkdir()
        (folder / f"{MODULE}.py").write_text("raise SystemExit('code was run')")
        KINDS[kind].make(home / KINDS[kind].name)
        KINDS[kind].read(home / KINDS[kind].name)  # imports what is imported late
    path = home / KINDS[kind].name
    path.write_bytes(content)
    with guarded(folder):
        try:
            KINDS[kind].read(path)
        except PbkdError as error:
            return str(error) or "no sentence"
    return None


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=sorted(KINDS))
    arguments = parser.parse_args()
    refused, failed = 0, 0
    folder = Path(tempfile.mkdtemp()) / "inside"
    folder.mkdir()
    sys.path.insert(0, str(folder))
    for kind in arguments.kinds:
        assert attempt(kind, original(kind)[0], folder) is None, f"a whole {kind} is refused"
    for number in range(arguments.inputs):
        kind = arguments.kinds[number % len(arguments.kinds)]
        content = hostile(kind, random.Random(f"{arguments.seed} {number}"))
        try:
            refused += attempt(kind, content, folder) is not None
        except BaseException:
            failed += 1
            print(f"{kind}, input {number}: {content[:300]!r}")
            traceback.print_exc(limit=-4, file=sys.stdout)
    shutil.rmtree(folder.parent)
    print(f"{arguments.inputs} inputs: {refused} refused, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(_main())
