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
import sys
import tempfile
import traceback
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pbkd.config.load import load_config
from pbkd.errors import PbkdError
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from tests.soak.array_kinds import ARRAY_KINDS
from tests.soak.damage import WORDS, mutated, mutated_tree
from tests.soak.guard import MODULE, guarded
from tests.soak.hostile_runs import HostileRun
from tests.soak.short_run import tiny_settings
from tests.soak.text_kinds import TEXT_KINDS
from tests.soak.written_trees import written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    parser.add_argument("--runs", type=int, default=0, help="How many of run folders.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=sorted(KINDS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "inside"
        folder.mkdir()
        sys.path.insert(0, str(folder))
        counts = Counter(_files(arguments, folder))
        if arguments.runs:
            counts.update(_runs(arguments, folder))
    print(f"{counts.total()} inputs: {counts['refused']} refused, {counts['failed']} failed")
    return counts["failed"] > 0


def _files(arguments: argparse.Namespace, folder: Path) -> Iterator[str]:
    for kind in arguments.kinds:
        assert attempt(kind, original(kind)[0], folder) is None, f"a whole {kind} is refused"
    for number in range(arguments.inputs):
        kind = arguments.kinds[number % len(arguments.kinds)]
        content = hostile(kind, random.Random(f"{arguments.seed} {number}"))
        yield _outcome(f"{kind}, input {number}", partial(attempt, kind, content, folder))


def _runs(arguments: argparse.Namespace, folder: Path) -> Iterator[str]:
    config = load_config(tiny_settings(folder.parent / "runs"))
    hostile_run = HostileRun(Path(run(config, build_registry(config.plugins)).folder), folder)
    assert hostile_run.attempt(None) is None, "a whole run is refused"
    for number in range(arguments.runs):
        chance = random.Random(f"{arguments.seed} {number}")
        yield _outcome(f"run {number}", partial(hostile_run.attempt, chance))


def _outcome(what: str, attempted: Callable[[], str | None]) -> str:
    try:
        return "taken" if attempted() is None else "refused"
    except BaseException:
        print(what)
        traceback.print_exc(limit=-4, file=sys.stdout)
        return "failed"


if __name__ == "__main__":
    sys.exit(_main())
