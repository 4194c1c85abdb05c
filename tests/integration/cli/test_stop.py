"""Signals in whole processes: during imports, in forks, and where nothing else ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from pbkd.cli import stop
from pbkd.cli.stop import stoppable
from tests.integration.cli.test_processes import in_a_process

# The process sends itself a signal when it begins to import the module.
STOPPED = """
import os, signal, sys

module = sys.argv.pop(1)

class Finder:
    def find_spec(self, name, *_):
        if name == module:
            os.kill(os.getpid(), signal.Signals.{signal})

sys.meta_path.insert(0, Finder())
from pbkd.cli import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "module",
    ["typer", "torch", *(pytest.param(m, marks=pytest.mark.slow) for m in ("numpy", "sklearn"))],
)
def test_a_signal_during_imports_is_one_sentence(
    number: signal.Signals, module: str, tmp_path: Path
) -> None:
    ended = in_a_process(STOPPED.format(signal=number.name), module, "run", f"out={tmp_path}")
    assert (ended.code, ended.out) == (128 + number, "")
    assert ended.err.startswith("pbkd: stopped")
    assert ended.err.count("\n") == 1


def test_a_process_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "_GRACE", 0.1)
    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(sys, "stderr", open(os.devnull, "w"))  # noqa: PTH123, SIM115
        with stoppable():
            with suppress(BaseException):  # as some libraries do
                signal.raise_signal(signal.SIGINT)
            threading.Event().wait(20)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130


def test_a_forked_process_has_the_default_handlers() -> None:
    with stoppable():
        pid = os.fork()
        if pid == 0:
            signal.raise_signal(signal.SIGTERM)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM


# Python calls first what was registered last.
ENDING = """
import atexit, os, signal
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
from pbkd.cli.stop import stoppable
with stoppable():
    pass
"""


def test_ctrl_c_while_python_ends_prints_nothing() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, b"", b"")
