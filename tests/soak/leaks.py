"""Measure whether memory, descriptors and threads grow: `python -m tests.soak.leaks --epochs 200`.

The quickstart runs with each feed. Every process of the run is looked at several times a second;
of each phase in which it trains, the medians of the first and of the last fifth are compared, after
a warm-up of a tenth; of descriptors and threads the least.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tests.soak.preloaded import HELPER, RESOURCE_TRACKER, Preloaded
from tests.soak.processes import processes_of_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.soak.preloaded import Command
    from tests.soak.processes import Process

__all__ = ["FEEDS", "LIMIT", "Growth", "growths"]

FEEDS = {
    "recompute": ["scheduler=round-robin"],
    "cache": ["scheduler=cached", "cache_gigabytes=1"],
    "relay": ["scheduler=pipeline"],
}
LIMIT = 0.02
_FEWEST = 20  # samples that say something


@dataclass(frozen=True)
class _Sample:
    """What a process holds at a time: kilobytes of its own, open files, threads."""

    time: float
    kilobytes: int
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Growth:
    """What a process held at the begin and at the end of a phase."""

    process: str
    phase: str
    epochs: int
    kilobytes: tuple[float, float]
    descriptors: tuple[float, float]
    threads: tuple[float, float]

    @property
    def share(self) -> float:
        """The growth of memory, as a share of what it was."""
        first, last = self.kilobytes
        return last / first - 1

    @property
    def is_flat(self) -> bool:
        """Whether memory grew by less than the limit, and nothing else did."""
        return self.share < LIMIT and all(b <= a for a, b in (self.descriptors, self.threads))

    def __str__(self) -> str:
        first, last = self.kilobytes
        return (
            f"{self.process:>17} {self.phase:>12}, {self.epochs:>4} epochs:"
            f" {first / 1024:7.1f} -> {last / 1024:7.1f} MiB ({self.share:+.2%},"
            f" {(last - first) / self.epochs:.1f} KiB per epoch),"
            f" descriptors {self.descriptors[0]:g} -> {self.descriptors[1]:g},"
            f" threads {self.threads[0]:g} -> {self.threads[1]:g}"
        )


def growths(
    preloaded: Preloaded, folder: Path, overrides: Sequence[str], pause: float = 0.1
) -> list[Growth]:
    """Run, and measure every process in every phase of training.

    Args:
        preloaded: Starts the run.
        folder: Where the run goes.
        overrides: Those of the run.
        pause: Seconds between samples.
    """
    command = preloaded.start(folder / "1", ["run", "--json", f"out={folder}", *overrides])
    samples: dict[tuple[int, str], list[_Sample]] = defaultdict(list)
    while (code := preloaded.poll(command)) is None:
        for process in processes_of_session(command.pid):
            if process.name in (HELPER, RESOURCE_TRACKER):
                continue
            with suppress(OSError, KeyError):  # it has ended meanwhile
                samples[process.pid, _role(process, command)].append(_sample(process.pid))
        time.sleep(pause)
    assert code == 0, command.err
    spans = _spans(command)
    return [
        growth
        for (pid, role), taken in samples.items()
        for phase, (begin, end, epochs) in spans.items()
        if (growth := _growth(f"{role} {pid}", phase, epochs, _within(taken, begin, end)))
    ]


def _role(process: Process, command: Command) -> str:
    if process.pid == command.pid:
        return "host"
    return "fork server" if process.parent == command.pid else "worker"


def _sample(pid: int) -> _Sample:
    """Look at a process; pages of files, such as those of a cache, are not its own."""
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    status = {key: value.split() for key, _, value in lines}
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    kilobytes, threads = int(status["RssAnon"][0]), int(status["Threads"][0])
    return _Sample(time.time(), kilobytes, descriptors, threads)


def _spans(command: Command) -> dict[str, tuple[float, float, int]]:
    """Return first and last epoch of each phase of training, as times, and the epochs."""
    times: dict[str, list[float]] = defaultdict(list)
    last: dict[str, int] = defaultdict(int)
    for event in map(json.loads, command.out.splitlines()):
        if event["event"] == "epoch":
            times[event["phase"]].append(event["time"])
            last[event["phase"]] = max(last[event["phase"]], event["epoch"])
    return {phase: (min(seen), max(seen), last[phase]) for phase, seen in times.items()}


def _within(samples: Sequence[_Sample], begin: float, end: float) -> list[_Sample]:
    warm = begin + (end - begin) / 10
    return [sample for sample in samples if warm <= sample.time <= end]


def _growth(process: str, phase: str, epochs: int, samples: Sequence[_Sample]) -> Growth | None:
    fifth = len(samples) // 5
    if len(samples) < _FEWEST:
        return None
    first, last = samples[:fifth], samples[-fifth:]
    kilobytes = _ends(median, "kilobytes", first, last)
    # A file that is open for a moment is no growth: the least that was held counts.
    descriptors, threads = (_ends(min, name, first, last) for name in ("descriptors", "threads"))
    return Growth(process, phase, epochs, kilobytes, descriptors, threads)


def _ends(
    of: Callable[[Iterable[float]], float],
    name: str,
    first: Sequence[_Sample],
    last: Sequence[_Sample],
) -> tuple[float, float]:
    return of(getattr(sample, name) for sample in first), of(getattr(s, name) for s in last)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--feeds", nargs="*", default=list(FEEDS), choices=list(FEEDS))
    arguments = parser.parse_args()
    phases = ("distill.epochs", "distill.student_fed_epochs", "finetune.epochs")
    epochs = [f"{key}={arguments.epochs}" for key in phases]
    found: list[Growth] = []
    with tempfile.TemporaryDirectory() as name, Preloaded() as preloaded:
        for feed in arguments.feeds:
            overrides = [*epochs, *FEEDS[feed], f"workers={arguments.workers}", "threads=1"]
            print(f"{feed}:", flush=True)
            for growth in growths(preloaded, Path(name) / feed, overrides):
                found.append(growth)
                print(growth, "" if growth.is_flat else "GROWS", flush=True)
    sys.exit(not all(growth.is_flat for growth in found))


if __name__ == "__main__":
    _main()
