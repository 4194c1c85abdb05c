"""One run that is disturbed at one moment: what came of it, and whether that is as documented."""

from __future__ import annotations

import json
import os
import random
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGKILL
from typing import TYPE_CHECKING

from tests.soak.moments import WRITING
from tests.soak.processes import processes_of_session
from tests.soak.short_run import digests, tiny_settings
from tests.soak.victims import strike

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from signal import Signals

    from tests.soak.moments import Moment
    from tests.soak.preloaded import Command, Preloaded

__all__ = ["FaultError", "Undisturbed", "attempt", "run_undisturbed", "wait_until"]

_HANG = 60.0  # seconds
_GONE = 10.0
_STOPPED = r"pbkd: [^\n]+\.\n"


class FaultError(AssertionError):
    """A run did after a kill what it should not do."""


@dataclass(frozen=True)
class Undisturbed:
    """A run by one worker that nobody kills: its weights, and the seconds of its phases."""

    weights: Mapping[str, str]
    seconds: Mapping[str, float]


def run_undisturbed(preloaded: Preloaded, folder: Path) -> Undisturbed:
    """Run once, and measure."""
    begin = time.time()
    command = preloaded.start(folder, ["run", "--json", *tiny_settings(folder / "runs")])
    wait_until(lambda: preloaded.poll(command) is not None, "the undisturbed run ends")
    events = [json.loads(line) for line in command.out.splitlines()]
    result = events[-1]["result"]
    seconds = {phase["name"]: phase["seconds"] for phase in result["phases"]}
    return Undisturbed(
        weights=digests(Path(result["folder"])),
        seconds={"start-up": events[0]["time"] - begin, **seconds},
    )


def wait_until(
    happened: Callable[[], object], what: str, seconds: float = _HANG, pause: float = 0.02
) -> None:
    """Wait, and look after each pause; raise a `FaultError` after so many seconds."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise FaultError(f"not after {seconds:.0f} s: {what}")
        time.sleep(pause)


def attempt(preloaded: Preloaded, moment: Moment, folder: Path, wanted: Undisturbed) -> str:
    """Disturb a run at a moment; return in a few words what came of it.

    Raises:
        FaultError: Something that is not documented.
    """
    out = folder / "runs"
    choice = [f"workers={moment.workers}", f"scheduler={moment.scheduler}"]
    choice += ["cache_gigabytes=1"] if moment.scheduler == "cached" else []
    hold = {}
    if moment.phase in WRITING:
        hold = {"HOLD": json.dumps([WRITING[moment.phase], moment.file])}
    command = preloaded.start(
        folder / "1", ["run", "--json", *tiny_settings(out), *choice], _surroundings(folder) | hold
    )
    try:
        if not _await_moment(preloaded, command, moment, wanted):
            what = "over before"
        else:
            what = _strike(command, moment)
        wait_until(lambda: preloaded.poll(command) is not None, "the run ends")
        wait_until(lambda: not _left(command), f"processes end: {_left(command)}", _GONE)
        code = preloaded.poll(command)
        _check_end(moment if what == "struck" else None, command, code)
        if code:
            what = _resume(preloaded, moment, folder)
        elif what == "struck":
            what = "went on"
        _check_weights(out, wanted, what)
        _check_places(folder, moment)
    finally:
        for process in processes_of_session(command.pid):
            with suppress(ProcessLookupError):
                os.kill(process.pid, SIGKILL)
    return what


def _surroundings(folder: Path) -> dict[str, str]:
    """Give a command folders of its own for what it may write outside of its run."""
    places = {"HOME": "home", "TMPDIR": "tmp", "XDG_STATE_HOME": "state"}
    for name in places.values():
        (folder / name).mkdir(parents=True, exist_ok=True)
    return {key: str(folder / name) for key, name in places.items()}


def _left(command: Command) -> list[str]:
    return [process.name for process in processes_of_session(command.pid)]


def _await_moment(
    preloaded: Preloaded, command: Command, moment: Moment, wanted: Undisturbed
) -> bool:
    """Wait for a moment; return whether the run has not ended before."""

    def ended() -> bool:
        return preloaded.poll(command) is not None

    if moment.phase in WRITING:
        wait_until(lambda: command.held.exists() or ended(), "the student is written")
        return not ended()
    if moment.phase == "start-up":
        wait_until(command.is_main, "the command begins")
    else:
        mark = f'"phase": "{moment.phase}"'
        wait_until(lambda: _has_begun(command, mark) or ended(), f"{moment.phase} begins")
    slower = 2 if moment.workers > 1 and moment.phase.endswith("-fed") else 1
    time.sleep(moment.share * slower * wanted.seconds[moment.phase])
    return not ended()


def _has_begun(command: Command, mark: str) -> bool:
    return any(
        line.startswith('{"event": "phase"') and mark in line for line in command.out.splitlines()
    )


def _strike(command: Command, moment: Moment) -> str:
    chance = random.Random(moment.seed)
    struck = strike(command, moment.victim, moment.signal, chance)
    command.held.unlink(missing_ok=True)
    return "struck" if struck else "no victim"


def _check_end(moment: Moment | None, command: Command, code: int | None) -> None:
    """Check exit code and text against docs/reliability.md."""
    told = command.err
    if "Traceback" in told:
        raise FaultError(f"a traceback: {told}")
    is_host = moment is not None and moment.victim in ("host", "group")
    is_over = '"event": "result"' in command.out  # Python itself is ending
    allowed = _codes(moment.signal, is_over=is_over) if moment and is_host else (0,)
    if code not in allowed:
        raise FaultError(f"exit code {code}, not one of {allowed}: {told}")
    if code and code > 0 and not re.fullmatch(_STOPPED, told):
        raise FaultError(f"{moment} is answered by: {told}")


def _codes(signal: Signals, *, is_over: bool) -> tuple[int, ...]:
    """Return the exit codes of a run that gets a signal."""
    if is_over:
        return 0, -signal, 128 + signal
    return (-SIGKILL if signal == SIGKILL else 128 + signal,)


def _check_places(folder: Path, moment: Moment) -> None:
    """Check that nothing is left outside of the run folder."""
    known = {"runs", "home", "tmp", "state", "1", "2", "stdout", "stderr"}
    places = [folder, folder / "1", folder / "home", folder / "tmp"]
    found = {str(path.relative_to(folder)) for place in places for path in place.iterdir()}
    strange = {name for name in found if Path(name).name not in known}
    if moment.victim == "group" and moment.signal != SIGINT:  # nobody was left to tidy up
        strange = {name for name in strange if not name.startswith("tmp/pymp-")}
    if strange:
        raise FaultError(f"left outside of the run folder: {', '.join(sorted(strange))}")


def _run_folder(out: Path) -> Path | None:
    folders = [path.parent for path in out.glob("*/config.yaml") if path.parent.name != "latest"]
    return max(folders, default=None)


def _resume(preloaded: Preloaded, moment: Moment, folder: Path) -> str:
    """Resume the run; say where it went on."""
    run = _run_folder(folder / "runs")
    if run is None:
        return "nothing begun"
    choice = [f"workers={moment.resumed_by}"]
    command = preloaded.start(
        folder / "2", ["run", "--json", "--resume", str(run), *choice], _surroundings(folder)
    )
    wait_until(lambda: preloaded.poll(command) is not None, "the resumed run ends")
    code = preloaded.poll(command)
    if not (run / "identity.json").exists():
        if code != 2 or "before training began" not in command.err:
            raise FaultError(f"resuming what was not begun gives {code}: {command.err}")
        return "nothing trained"
    if code:
        raise FaultError(f"resuming gives {code}: {command.err}")
    return "resumed"


def _check_weights(out: Path, wanted: Undisturbed, what: str) -> None:
    run = _run_folder(out)
    if what.startswith("nothing"):
        return
    if run is None:
        raise FaultError("the run folder is gone")
    if digests(run) != wanted.weights:
        found = digests(run)
        names = sorted({*found, *wanted.weights})
        differing = [n for n in names if found.get(n) != wanted.weights.get(n)]
        raise FaultError(f"other weights: {', '.join(differing)}")
