"""Rows below what is printed, drawn anew in place, also where the terminal was resized."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, TextIO, cast

from rich.console import RenderHook
from rich.control import Control
from rich.file_proxy import FileProxy
from rich.segment import ControlType

from pbkd.core.process import background_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console, ConsoleRenderable
    from rich.text import Text


__all__ = ["pinned"]

_EVERY = 0.5  # seconds


@contextmanager
def pinned(console: Console, rows: Callable[[int, int], list[Text]]) -> Iterator[threading.RLock]:
    """Keep what `rows` gives for a width and a height below everything that is printed meanwhile.

    It is drawn twice a second, and gone in the end. `rows` is asked, and should be printed, with
    the lock held that is handed out. Nothing has to be put right in a terminal that is left at any
    moment: the cursor is never hidden, and stands on a line of its own.
    """
    hook = _Rows(console, rows)

    def draw(stop: threading.Event) -> None:
        while not stop.wait(_EVERY):
            hook.draw()

    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(cast("TextIO", FileProxy(console, sys.stdout))))
        if sys.stderr.isatty():
            stack.enter_context(redirect_stderr(cast("TextIO", FileProxy(console, sys.stderr))))
        console.push_render_hook(hook)
        stack.callback(console.pop_render_hook)
        stack.callback(hook.erase)
        with background_thread(draw, "pbkd-display"):
            yield hook.lock


class _Rows(RenderHook):
    """What rich asks whenever something is printed: it puts the rows below it.

    rich's own `Live` remembers how many rows it drew. A terminal that has become narrower since
    shows them folded into more, of which some would stay; so the widths are remembered instead.
    """

    def __init__(self, console: Console, rows: Callable[[int, int], list[Text]]) -> None:
        self.lock = threading.RLock()
        self._console = console
        self._rows = rows
        self._widths: list[int] = []

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return what is printed with the old rows taken away before it, and new ones after it."""
        with self.lock:
            width, height = _size(self._console)
            back = self._back(width)
            rows = self._rows(width, height)
            self._widths = [row.cell_len for row in rows]
            return [back, *renderables, *rows]

    def draw(self) -> None:
        with self.lock:
            self._console.print(Control())

    def erase(self) -> None:
        self._rows = lambda _width, _height: []
        self.draw()

    def _back(self, width: int) -> Control:
        """Return what moves the cursor up to the first of the rows, and empties them all."""
        fused = sum(max(1, -(-cells // width)) for cells in self._widths)
        up = [(ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)] * fused
        return Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), *up)


def _size(console: Console) -> tuple[int, int]:
    """Return columns and rows as they are, whatever the variable COLUMNS says."""
    try:
        size = os.get_terminal_size(console.file.fileno())
    except OSError:
        return console.size
    return size if all(size) else console.size
