"""Rows that stay below the printed output and are redrawn in place, even after resizing."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import IO, TYPE_CHECKING, TextIO, cast

from rich.console import RenderHook
from rich.control import Control
from rich.file_proxy import FileProxy
from rich.segment import ControlType

from pbkd.core.process import background_thread
from pbkd.core.terminal_text import clean_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console, ConsoleRenderable
    from rich.text import Text


__all__ = ["pinned"]

_EVERY = 0.5  # seconds


@contextmanager
def pinned(console: Console, rows: Callable[[int, int], list[Text]]) -> Iterator[threading.RLock]:
    """Keep rows below everything that is printed during the context.

    They are redrawn twice a second and removed at the end. The cursor is never hidden and stands
    on a line of its own, so that an interrupted terminal needs no repair.

    Args:
        console: The terminal.
        rows: Returns the rows for a width and a height; called with the lock held.

    Yields:
        The lock to hold while printing.
    """
    hook = _Rows(console, rows)

    def draw(stop: threading.Event) -> None:
        while not stop.wait(_EVERY):
            hook.draw()

    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(_above_the_rows(console, console.file)))
        if sys.stderr.isatty():
            stack.enter_context(redirect_stderr(_above_the_rows(console, sys.stderr)))
        console.push_render_hook(hook)
        stack.callback(console.pop_render_hook)
        stack.callback(hook.erase)
        with background_thread(draw, "pbkd-display"):
            yield hook.lock


def _above_the_rows(console: Console, file: IO[str]) -> TextIO:
    return clean_stream(cast("IO[str]", FileProxy(console, file)))


class _Rows(RenderHook):
    """The hook that rich calls on every print; it puts the rows below the output.

    rich's own `Live` remembers the number of rows. In a terminal that was made narrower they fold
    into more rows, some of which would stay, so this class remembers their widths instead.
    """

    def __init__(self, console: Console, rows: Callable[[int, int], list[Text]]) -> None:
        self.lock = threading.RLock()
        self._console = console
        self._rows = rows
        self._widths: list[int] = []

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return the output with the old rows erased before it, and new rows after it."""
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
        """Return the control codes that erase all rows and move the cursor to the first."""
        fused = sum(max(1, -(-cells // width)) for cells in self._widths)
        up = [(ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)] * fused
        return Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), *up)


def _size(console: Console) -> tuple[int, int]:
    """Return the actual columns and rows; the variable COLUMNS is ignored."""
    try:
        size = os.get_terminal_size(console.file.fileno())
    except OSError:
        return console.size
    return size if all(size) else console.size
