"""Sees what hostile input makes Python do: start programs, run code, write or connect elsewhere."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MODULE", "SLOWEST", "guarded"]

MODULE = "hostile_module"
"""A module that input names, and that must not be imported."""
SLOWEST = 5  # CPU seconds
_HANGS = 60  # seconds in which nothing is computed
_NEVER = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
    "os.forkpty", "pty.spawn", "socket.bind", "socket.connect", "ctypes.dlopen", "webbrowser.open",
)  # fmt: skip
_CHANGES = (
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod",
    "os.chown", "os.truncate", "os.utime", "shutil.rmtree", "shutil.copyfile", "shutil.move",
)  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# These make code of names that pbkd and torch wrote: dataclasses, modules, networks of torch.fx.
_MAKERS = (
    "_pytest/assertion/rewrite.py",
    "dataclasses.py",
    "typing.py",
    "inspect.py",
    "<frozen importlib._bootstrap",
    "collections/__init__.py",
    "/torch/",
)


class _Guard:
    """What is watched now, if anything."""

    inside: Path | None = None
    installed = False
    seen: list[str] = []  # noqa: RUF012


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    inside = _Guard.inside
    if inside is None:
        return
    if event in _NEVER:
        _Guard.seen.append(f"{event} {arguments!r:.200}")
    elif event == "import" and arguments[0].startswith(MODULE):
        _Guard.seen.append(f"import {arguments[0]}")
    elif event == "exec":
        caller = sys._getframe(1).f_code.co_filename
        if not any(maker in caller for maker in _MAKERS):
            _Guard.seen.append(f"{event} by {caller}: {arguments!r:.200}")
    elif event == "open" and arguments[2] & _WRITING and not _is_below(arguments[0], inside):
        _Guard.seen.append(f"open for writing {arguments[0]!r:.200}")
    elif event in _CHANGES and not _is_below(arguments[0], inside):
        _Guard.seen.append(f"{event} {arguments!r:.200}")


def _is_below(path: object, folder: Path) -> bool:
    if isinstance(path, int):
        return True
    whole = Path(os.path.abspath(os.fsdecode(path)))  # type: ignore[arg-type]  # noqa: PTH100
    return whole.is_relative_to(folder) or str(whole) == os.devnull


def _too_long(*_: object) -> NoReturn:
    raise TimeoutError(f"it takes more than {SLOWEST} CPU seconds, or waits")


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Fail if code is run, a program started, or anything written outside of `folder`.

    The context may take `SLOWEST` CPU seconds; it is interrupted after that.

    Raises:
        AssertionError: One of these happened.
        TimeoutError: It takes too long.
    """
    if not _Guard.installed:
        sys.addaudithook(_hook)  # it stays until the process ends
        _Guard.installed = True
    handlers = [signal.signal(number, _too_long) for number in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, SLOWEST)
    signal.setitimer(signal.ITIMER_REAL, _HANGS)
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # of late imports
    _Guard.inside, _Guard.seen = folder, []
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes_bytecode
        _Guard.inside = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip((signal.SIGPROF, signal.SIGALRM), handlers, strict=True):
            signal.signal(number, handler)
    assert not _Guard.seen, _Guard.seen[:3]
