"""Run the documents' examples: in a shell, or in this process where a shell is not needed.

A process of its own imports torch for seconds before it does anything.
"""

from __future__ import annotations

import io
import os
import re
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pbkd import cli
from tests.docs.documents import Example

BIN = Path(sys.executable).parent

_HERE_DOCUMENT = re.compile(r"^cat > (\S+) <<'(\w+)'\n(.*?)^\2\n", re.MULTILINE | re.DOTALL)
_TOKEN = re.compile(
    r"(?P<word>(?:'[^']*'|\"[^\"]*\"|[^\s'\"|&;<>()`])+)|(?P<operator>[|&;<>()`]+|\n)|[ \t]+"
)
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"|([^'\"]+)")


@dataclass
class Command:
    """`NAME=VALUE ... program argument ... > output`, as it stands in the document."""

    words: list[str] = field(default_factory=list)
    output: str | None = None


def commands(code: str) -> list[Command] | None:
    """Split a script into commands of pbkd; None if it needs a shell."""
    found, command, redirected = [], Command(), False
    for token in _TOKEN.finditer(code.replace("\\\n", " ")):
        if token["operator"] == "\n":
            if command.words:
                found.append(command)
            command = Command()
        elif token["operator"] == ">":
            redirected = True
        elif token["operator"] or (token["word"] or "").startswith("#"):
            return None
        elif token["word"] and redirected:
            command.output, redirected = token["word"], False
        elif token["word"]:
            command.words.append(token["word"])
    programs = {_program(command) for command in found}
    return found if programs <= {"pbkd", "export"} else None


def _program(command: Command) -> str:
    return next((word for word in command.words if not re.match(r"\w+=", word)), "")


def _expanded(word: str, folder: Path, variables: dict[str, str]) -> list[str]:
    """Put in variables, then the files that a pattern matches."""

    def variable(found: re.Match[str]) -> str:
        return variables[found[1] or found[2]]

    text, is_pattern = "", False
    for literal, quoted, bare in _QUOTED.findall(word):
        text += literal + re.sub(r"\$(?:(\w+)|\{(\w+)\})", variable, quoted + bare)
        is_pattern |= bool(re.search(r"[*?\[]", bare))
    matches = folder.glob(text) if is_pattern else ()
    return sorted(str(path.relative_to(folder)) for path in matches) or [text]


def run_in_process(example: Example, folder: Path, environment: dict[str, str]) -> str:
    """Run one example with `folder` as the current one; return what it printed.

    A script that needs a shell gets one.
    """
    if example.language == "python":
        path = _write_script(example, folder)
        return _captured(example, folder, environment, [str(path)], script=path)
    code, files = example.code, {}
    for found in _HERE_DOCUMENT.finditer(code):
        files[found[1]] = found[3]
    script = commands(_HERE_DOCUMENT.sub("", code))
    if script is None:
        return run_in_shell(example, folder, environment)
    for name, text in files.items():
        (folder / name).write_text(text)
    printed = ""
    variables = {**environment, "PWD": str(folder)}
    for command in script:
        words = [w for word in command.words for w in _expanded(word, folder, variables)]
        if words[0] == "export":
            variables.update(_assignments(words[1:]))
            continue
        start = words.index("pbkd")
        changed = {**variables, **_assignments(words[:start])}
        output = _captured(example, folder, changed, words[start:])
        if command.output is None:
            printed += output
        else:
            (folder / command.output).write_text(output)
    return printed


def _assignments(words: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _captured(
    example: Example,
    folder: Path,
    variables: dict[str, str],
    arguments: list[str],
    *,
    script: Path | None = None,
) -> str:
    """Run a script, or else the command line, with these arguments; return what it printed."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.setattr(sys, "argv", arguments)
        for name, value in variables.items():
            patch.setenv(name, value)
        try:
            if script is None:
                cli.main()
            else:
                patch.setattr(sys, "path", [str(script.parent), *sys.path])
                runpy.run_path(str(script), run_name="__main__")
        except SystemExit as ended:
            code = ended.code or 0
    assert code == 0, f"{example.code}\n{out.getvalue()}\n{err.getvalue()}"
    return out.getvalue()


def _write_script(example: Example, folder: Path) -> Path:
    """Write a script of Python to the file that its first line names."""
    name = re.match(r"# ([\w/-]+\.py)\n", example.code)
    path = folder / (name[1] if name else "example.py")
    path.write_text(example.code)
    return path


def run_in_shell(example: Example, folder: Path, environment: dict[str, str]) -> str:
    """Run one example in a process of its own; return what it printed."""
    if example.language == "python":
        command = ["python", str(_write_script(example, folder))]
    else:
        # The tests are running already: of `make test` only its commands are looked at.
        code = re.sub(r"^make test$", "make --dry-run test", example.code, flags=re.MULTILINE)
        command = ["bash", "-e", "-o", "pipefail", "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{example.code}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def environment_of(*programs: Path) -> dict[str, str]:
    """Return the variables with which the programs of these folders are found first.

    Nothing is handed on of a make that runs these tests.
    """
    of_make = ("MAKE", "MF", "ARGS")
    outside = {key: text for key, text in os.environ.items() if not key.startswith(of_make)}
    return {**outside, "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]])}
