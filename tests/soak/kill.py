"""Kill what belongs to runs, at moments drawn by seeds: `python -m tests.soak.kill --kills 500`.

Each run is killed once, in one of its processes or all; afterwards no process and no file may be
left, exit code and text be as documented, and the resumed run give the weights of an undisturbed
one. A table counts what came of it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from pbkd.plugin.registry import build_registry
from tests.soak.attempt import FaultError, attempt, run_undisturbed
from tests.soak.moments import draw_moments
from tests.soak.preloaded import Preloaded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.soak.moments import Moment

__all__ = ["kill"]

_COLUMNS = ("went on", "resumed", "nothing trained", "nothing begun", "no victim", "over before")


def kill(preloaded: Preloaded, count: int, seed: int) -> Iterator[tuple[Moment, str]]:
    """Disturb runs at drawn moments.

    Args:
        preloaded: Starts the runs.
        count: How many.
        seed: The first seed.

    Yields:
        Each moment with what came of it; a sentence for what should not be.
    """
    schedulers = sorted(build_registry().strategies["scheduler"])
    with tempfile.TemporaryDirectory() as name:  # a short path, as sockets need it
        wanted = run_undisturbed(preloaded, Path(name) / "alone")
        for moment in draw_moments(schedulers, count, seed):
            folder = Path(name) / str(moment.seed)
            try:
                what = attempt(preloaded, moment, folder, wanted)
            except FaultError as fault:
                what = f"FAULT: {fault}"
            yield moment, what
            shutil.rmtree(folder, ignore_errors=True)


def _table(results: list[tuple[Moment, str]]) -> str:
    """Count the outcomes by victim, signal, phase, scheduler and workers."""
    counts: Counter[tuple[str, str]] = Counter()
    for moment, what in results:
        column = what if what in _COLUMNS else "FAULT"
        rows = moment.victim, moment.signal.name, moment.phase, moment.scheduler
        for row in (*rows, f"{moment.workers} worker(s)", "all"):
            counts[row, column] += 1
    columns = (*_COLUMNS, "FAULT")
    lines = ["".join(f"{column:>17}" for column in ("", *columns))]
    for row in dict.fromkeys(row for row, _ in counts):
        lines.append("".join(f"{cell:>17}" for cell in (row, *(counts[row, c] for c in columns))))
    return "\n".join(lines)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    results = []
    with Preloaded() as preloaded:
        for moment, what in kill(preloaded, arguments.kills, arguments.seed):
            results.append((moment, what))
            print(f"{moment}: {what}", flush=True)
    print(_table(results))
    sys.exit(any(what.startswith("FAULT") for _, what in results))


if __name__ == "__main__":
    _main()
