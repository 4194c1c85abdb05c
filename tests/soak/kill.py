"""Kill workers at random moments, over and over: `python -m tests.soak.kill --rounds 100`.

Every round is one run with several kills; its weights must be those of an undisturbed run.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import signal
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pbkd.config.load import load_config
from pbkd.core.events import EpochDone, Event
from pbkd.core.process import background_thread
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

FEEDS = {
    "recompute": ["scheduler=round-robin"],
    "queue": ["scheduler=lpt-scheduler"],
    "relay": ["scheduler=pipeline"],
    "cache": ["scheduler=cached", "cache_gigabytes=1"],
}

# Every process of a run loads its plugins; this one makes each keep a checkpoint at every epoch.
_OFTEN = """
from pbkd.training import checkpoint
from pbkd import hookimpl

checkpoint.STEPS_BETWEEN = 1

@hookimpl
def register_builders():
    return []
"""


def settings(out: Path) -> list[str]:
    """Return overrides for a short run, with checkpoints at every epoch."""
    out.mkdir(parents=True, exist_ok=True)
    plugin = out / "often.py"
    plugin.write_text(_OFTEN)
    return [
        f"out={out}", f"plugins=[{plugin}]", "threads=1", "distill.epochs=6",
        "distill.student_fed_epochs=4", "finetune.epochs=1", "batch_size=128", "data.crop=0",
        "meters=[]",
    ]  # fmt: skip


def digests(folder: Path) -> dict[str, str]:
    """Return a digest of every file of weights that a run leaves."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.safetensors")
    }


class Killer:
    """Ends random workers: half of them when a block has got on, half at a random time."""

    def __init__(self, seed: int, kills: int, how: signal.Signals = signal.SIGKILL) -> None:
        self._random = random.Random(seed)
        self._how = how
        self._by_event = kills - kills // 2
        self._by_time = kills // 2
        self._wait = self._random.randint(1, 8)
        self.kills = 0

    def see(self, event: Event) -> None:
        """Count epochs; after a random number of them, kill."""
        blockwise = isinstance(event, EpochDone) and event.phase.endswith("-fed")
        if not blockwise or not self._by_event:
            return
        self._wait -= 1
        if self._wait <= 0 and self._kill():
            self._by_event -= 1
            self._wait = self._random.randint(1, 12)

    @contextmanager
    def at_random_times(self) -> Iterator[None]:
        """Kill from a thread, while the context lasts."""

        def kill(stop: threading.Event) -> None:
            while self._by_time and not stop.wait(self._random.uniform(0.5, 7)):
                self._by_time -= self._kill()

        with background_thread(kill, "killer"):
            yield

    def _kill(self) -> bool:
        workers = [child.pid for child in multiprocessing.active_children() if child.pid]
        if not workers:
            return False
        with suppress(ProcessLookupError):
            os.kill(self._random.choice(workers), self._how)
            self.kills += 1
            return True
        return False


def disturbed(out: Path, feed: str, seed: int, kills: int) -> tuple[dict[str, str], int]:
    """Run with kills; return the digests of what came out, and how many kills there were."""
    killer = Killer(seed, kills)
    changes = [*settings(out), *FEEDS[feed], "workers=2", f"launcher.restarts={kills + 2}"]
    with killer.at_random_times():
        result = run(load_config(changes), build_registry(), killer.see)
    return digests(Path(result.folder)), killer.kills


def undisturbed(out: Path) -> dict[str, str]:
    """Return the digests of what one worker gives, left alone."""
    return digests(Path(run(load_config(settings(out)), build_registry()).folder))


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        wanted = undisturbed(Path(folder) / "alone")
        for number in range(arguments.seed, arguments.seed + arguments.rounds):
            feed = list(FEEDS)[number % len(FEEDS)]
            out = Path(folder) / str(number)
            found, kills = disturbed(out, feed, number, arguments.kills)
            total += kills
            assert found == wanted, f"seed {number}, {feed}: other weights"
            print(f"seed {number}, {feed}: {kills} kills, the same weights ({total} kills so far)")


if __name__ == "__main__":
    _main()
