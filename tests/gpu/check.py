"""The check: it runs the parts in processes of their own, within limits, and writes the summary."""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.gpu.parts import PARTS

__all__ = ["Check", "markdown"]

_SECONDS = 470.0  # of all parts, so that the whole takes no more than 8 minutes
_SLOWER = 8  # what a CPU may take in place of a GPU's second
_START = 60.0  # until a process says on what it runs


@dataclass
class Check:
    """The parts, and what is known of each.

    Attributes:
        names: The parts to run.
        command: Starts a process that runs the parts whose names are appended.
        log: Gets what the parts print.
        facts: What they run on.
        found: State, line and figures of each part that has ended.
        say: Gets a line for each part.
    """

    names: Sequence[str]
    command: Sequence[str]
    log: IO[bytes]
    facts: Mapping[str, Any] = field(default_factory=dict)
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    say: Callable[[str], None] = print

    def run(self) -> None:
        """Run all parts; one that takes too long or ends its process costs the others nothing."""
        self._end = time.monotonic() + _SECONDS * _SLOWER
        while left := [name for name in self.names if name not in self.found]:
            if time.monotonic() >= self._end:
                for name in left:
                    self._note(name, {"state": "failed", "line": "no time was left for it"})
            else:
                self._run_some(left)

    def _run_some(self, names: Sequence[str]) -> None:
        """Run parts in one process, until its end or a part that takes too long."""
        with subprocess.Popen(
            [*self.command, *names],
            stdout=subprocess.PIPE,
            stderr=self.log,
            start_new_session=True,  # so that its workers can be killed with it
        ) as process:
            entries: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
            threading.Thread(target=_read, args=(process, entries), daemon=True).start()
            try:
                running, why = self._follow(entries, names[0])
            finally:
                _kill(process)
        if why:
            self._note(running, {"state": "failed", "line": why})

    def _follow(self, entries: Any, running: str) -> tuple[str, str]:
        """Note what a process says; return the part that it did not end, and why, if there is one.

        A process that says nothing of itself has not ended its first part.
        """
        limit = _START
        while True:
            remaining = self._end - time.monotonic()
            try:
                entry = entries.get(timeout=max(0.1, min(limit, remaining)))
            except queue.Empty:
                return running, f"it was stopped after {min(limit, max(0.0, remaining)):.0f} s"
            if entry is None:
                return running, "its process ended" if running not in self.found else ""
            if "facts" in entry:
                if not self.facts:
                    self._begin(entry["facts"])
            elif "begin" in entry:
                running, limit = entry["begin"], self._limit(entry["begin"])
            else:
                self._note(entry.pop("end"), entry)
                limit = _START

    def _begin(self, facts: Mapping[str, Any]) -> None:
        self.facts = facts
        if facts["device"] == "cuda":
            self._end -= _SECONDS * (_SLOWER - 1)
        self.say(f"{facts.get('card', 'no GPU')}, torch {facts['torch']}, {facts['machine']}")

    def _limit(self, name: str) -> float:
        seconds = next(part.seconds for part in PARTS if part.name == name)
        return seconds * (1 if self.facts.get("device") == "cuda" else _SLOWER)

    def _note(self, name: str, found: dict[str, Any]) -> None:
        self.found[name] = found
        seconds = f" ({found['seconds']:.1f} s)" if "seconds" in found else ""
        self.say(f"{found['state']:8} {name}: {found['line']}{seconds}")


def _read(process: subprocess.Popen[bytes], entries: Any) -> None:
    assert process.stdout is not None, "it is a pipe"
    for line in process.stdout:
        entries.put(json.loads(line))
    entries.put(None)


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def markdown(facts: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the summary as a table."""
    about = ", ".join(f"{key} {value}" for key, value in facts.items())
    shows = {part.name: part.shows for part in PARTS}
    rows = [
        f"| {name} | {shows[name]} | {each['state']} | {each['line'].replace('|', '/')} |"
        for name, each in found.items()
    ]
    heads = ["| part | shows | state | found |", "| --- | --- | --- | --- |"]
    return "\n".join([f"Measured on: {about}.", "", *heads, *rows, ""])


def main() -> int:
    """Run the parts that the arguments name, or all; return 1 if one does not pass."""
    parser = argparse.ArgumentParser(prog="check.sh")
    names = [part.name for part in PARTS]
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--work", type=Path, required=True, help="folder of temporary files")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(names)}")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - {*names}:
        parser.error(f"there is no part {', '.join(sorted(unknown))}, but {', '.join(names)}")
    out = arguments.out.absolute()
    for folder in (out, arguments.work):
        folder.mkdir(parents=True, exist_ok=True)
    chosen = [name for name in names if name in (arguments.parts or names)]
    command = [sys.executable, "-u", "-m", "tests.gpu.run_parts", "--out", str(out)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and so kill the process of the parts
    with (out / "log.txt").open("wb") as log:
        check = Check(chosen, [*command, "--work", str(arguments.work)], log)
        check.run()
    summary = {"facts": check.facts, "parts": check.found}
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", "utf-8")
    (out / "summary.md").write_text(markdown(check.facts, check.found), "utf-8")
    print(f"everything is in {out}: summary.md, summary.json, log.txt")
    return int(any(each["state"] in ("failed", "short") for each in check.found.values()))


if __name__ == "__main__":
    sys.exit(main())
