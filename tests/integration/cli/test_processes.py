"""The command line in processes of its own: imports and exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from textwrap import dedent

import pytest

from tests.command_line import Ended, mistake


def in_a_process(code: str, *arguments: str) -> Ended:
    """Run Python code in a fresh process."""
    environment = {**os.environ, "COLUMNS": "40"}
    command = [sys.executable, "-c", code, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


MAIN = "from pbkd.cli import main\nmain()"


@pytest.mark.parametrize(
    "verb",
    [
        [], ["run"], ["zoo"], ["zoo", "train"], ["zoo", "add"], ["plugins"], ["doctor"],
        ["compare"], ["baseline"],
    ],
)  # fmt: skip
def test_help_imports_nothing_that_is_slow(verb: list[str]) -> None:
    code = dedent("""
        import sys
        from pbkd.cli import main
        try:
            main()
        finally:
            slow = {"torch", "torchvision", "timm", "sklearn", "numpy", "omegaconf", "pluggy"}
            print(sorted(slow & sys.modules.keys()), file=sys.stderr)
    """)
    ended = in_a_process(code, *verb, "--help")
    assert ended.code == 0
    assert f"Usage: {' '.join(['pbkd', *verb])} " in ended.out
    assert ended.err == "[]\n"


def test_a_mistake_is_told_the_same_way_in_a_process_of_its_own() -> None:
    ended = in_a_process(MAIN, "run", "worker=2")
    assert mistake(ended).startswith("unknown key 'worker'. Did you mean 'workers'?")
    assert "Traceback" not in ended.err
