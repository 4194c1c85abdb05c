"""The live display in a real terminal, of tmux, which is resized while a run goes on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pbkd.core.events import (
    EpochDone,
    JobStarted,
    PhaseStarted,
    PlanMade,
    PlannedJob,
    PlannedWorker,
)
from pbkd.runs.events import record_event
from pbkd.runs.lock import locked

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

PBKD = f"{sys.executable} -c 'from pbkd.cli import main; main()'"
PROMPT = "ready>"
HEAD = re.compile(r"worker +(done +)?block +epoch")
PHASE = re.compile(r"(planning|teacher-fed|student-fed|scoring|fine-tuning): \d")


class Terminal:
    """A shell in a terminal of tmux, of a server of its own."""

    def __init__(self, folder: Path) -> None:
        self._command = ["tmux", "-S", str(folder / "tmux"), "-f", os.devnull]
        shell = f"env PS1='{PROMPT} ' bash --norc --noprofile"
        self.tmux("new-session", "-d", "-x", "100", "-y", "30", "-c", str(folder), shell)

    def tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments], capture_output=True, text=True, check=True, timeout=20
        )
        return done.stdout

    def type(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        self.tmux("resize-window", "-x", str(width), "-y", str(height))
        time.sleep(0.8)  # it is drawn anew twice a second

    def lines(self, *options: str) -> list[str]:
        lines = self.tmux("capture-pane", "-p", *options).rstrip().splitlines()
        return [line.rstrip() for line in lines]

    def wait(self, happened: Callable[[list[str]], object], seconds: float = 60) -> list[str]:
        end = time.monotonic() + seconds
        while not happened(lines := self.lines()):
            assert time.monotonic() < end, lines
            time.sleep(0.05)
        return lines


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path)
    yield opened
    opened.tmux("kill-server")


def check_rows(terminal: Terminal, width: int) -> None:
    """Look seven times: there is one display, each row on a line of its own, at the bottom."""
    for _ in range(7):
        time.sleep(0.1)
        lines = terminal.lines("-S", "-", "-J")  # all that was ever shown, folded lines joined
        heads = [index for index, line in enumerate(lines) if HEAD.match(line)]
        assert len(heads) == 1, lines
        rows = lines[heads[0] - 1 :]
        assert [bool(PHASE.match(line)) for line in lines].count(True) == 1
        assert PHASE.match(rows[0]), lines
        assert [row.split()[0] for row in rows[2:]] == ["0"], lines
        assert max(map(len, rows)) < width, lines


@pytest.mark.slow
def test_a_run_in_a_terminal_that_is_resized_and_stopped(
    terminal: Terminal, quick: list[str], tmp_path: Path
) -> None:
    long = [*quick, "distill.epochs=500"]
    terminal.type(f"{PBKD} run {' '.join(long)}; echo code=$?", "Enter")
    terminal.wait(lambda lines: any(HEAD.match(line) for line in lines))
    for width, height in ((40, 20), (61, 12), (120, 30)):
        terminal.resize(width, height)
        check_rows(terminal, width)
    terminal.type("C-c")
    terminal.wait(lambda lines: any(line.startswith("code=") for line in lines))
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if not path.is_symlink())
    lines = terminal.lines("-S", "-", "-J")
    assert lines[-3:] == [
        f"pbkd: stopped; go on with `pbkd run --resume {folder}`.",
        "code=130",
        PROMPT,
    ]
    assert not any(HEAD.match(line) or PHASE.match(line) for line in lines)
    assert lines[-4].startswith("run folder: ")
    assert terminal.tmux("display", "-p", "#{cursor_flag}").strip() == "1"
    terminal.type("echo alive$((1 + 1))", "Enter")
    terminal.wait(lambda lines: "alive2" in lines)


def test_a_run_that_is_watched_in_a_terminal(terminal: Terminal, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").touch()
    phase, blocks = "teacher-fed", ("conv1",)
    plan = PlanMade(
        folder=str(folder),
        scheduler="greedy",
        feed="teacher",
        seconds=9.0,
        workers=(PlannedWorker(rank=0, device="cpu"),),
        blocks=blocks,
        epochs={phase: 4},
        totals={phase: 4},
        lanes=((PlannedJob(blocks=blocks, seconds=9.0),),),
    )
    with locked(folder):
        record_event(folder, "host", plan)
        record_event(folder, "host", PhaseStarted(phase=phase))
        job = JobStarted(
            worker=0, phase=phase, blocks=blocks, begun=0, epochs=4, steps=10, images=64
        )
        record_event(folder, "rank0", job)
        terminal.type(f"{PBKD} watch {folder}", "Enter")
        terminal.wait(lambda lines: any(HEAD.match(line) for line in lines))
        check_rows(terminal, 100)
        epoch = EpochDone(worker=0, phase=phase, block="conv1", epoch=1, loss=0.5)
        record_event(folder, "rank0", epoch)
        terminal.wait(lambda lines: any(re.match(r"0 .* conv1 +2/4 +0\.5000", x) for x in lines))
        terminal.type("C-c")
        lines = terminal.wait(lambda lines: lines[-1:] == [PROMPT])
    assert not any(HEAD.match(line) or PHASE.match(line) for line in lines)
    message = f"pbkd: no longer watching '{folder}'; the run is not affected."
    assert terminal.lines("-J")[-2:] == [message, PROMPT]


def test_every_epoch_of_fine_tuning_stays_in_the_scrollback(
    terminal: Terminal, tmp_path: Path
) -> None:
    """More lines than the terminal has, printed above the rows while it is made narrower."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").touch()
    phase, count = "fine-tuning", 45

    def wait_for_epoch(epoch: int) -> None:
        terminal.wait(lambda lines: any(f"epoch {epoch}:" in line for line in lines))

    with locked(folder):
        record_event(folder, "host", PhaseStarted(phase=phase))
        job = JobStarted(
            worker=None, phase=phase, blocks=("student",), begun=0, epochs=99, steps=10, images=64
        )
        record_event(folder, "host", job)
        terminal.type(f"{PBKD} watch {folder}", "Enter")
        terminal.wait(lambda lines: any(re.match(r"host +.* student +1/99", x) for x in lines))
        for epoch in range(1, count + 1):
            done = EpochDone(
                worker=None, phase=phase, block="student", epoch=epoch, loss=0.5, accuracy=0.75
            )
            record_event(folder, "host", done)
            if epoch == count // 2:  # not while rows are drawn, which no program can notice
                wait_for_epoch(epoch)
                terminal.resize(70, 20)
        wait_for_epoch(count)
        lines = terminal.lines("-S", "-", "-J")
        terminal.type("C-c")
    printed = [line for line in lines if line.startswith("fine-tuning, epoch")]
    assert printed == [
        f"fine-tuning, epoch {epoch}: loss 0.5000, validation 75.00 %"
        for epoch in range(1, count + 1)
    ]
    assert [bool(PHASE.match(line)) for line in lines].count(True) == 1
