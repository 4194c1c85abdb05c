"""Output of a run's events: live rows in a terminal, plain lines, JSON, or nothing."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import TYPE_CHECKING

from pbkd.core.event_json import to_json
from pbkd.core.plain_data import finite
from pbkd.report.console.display import open_console
from pbkd.report.console.lines import print_event
from pbkd.report.console.live_view import live_rows
from pbkd.report.console.pinned import pinned
from pbkd.runs.live import LiveRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.text import Text

    from pbkd.core.events import Emit, Event

__all__ = ["shown"]


@contextmanager
def shown(*, quiet: bool = False, as_json: bool = False) -> Iterator[Emit]:
    """Yield a function that shows events on standard output, from one thread at a time.

    Args:
        quiet: Show nothing.
        as_json: Print each event as a line of JSON.
    """
    if as_json:
        with _as_json() as show:
            yield show
        return
    console = open_console(quiet=quiet)
    if quiet:
        with redirect_stdout(sys.stderr):  # of plugins
            yield lambda _event: None
        return
    if not sys.stdout.isatty() or console.is_dumb_terminal:
        yield partial(print_event, console=console)
        return
    with _live(console) as show:
        yield show


@contextmanager
def _as_json() -> Iterator[Emit]:
    """Yield a function that prints JSON lines; other output goes to standard error meanwhile."""
    out = sys.stdout

    def show(event: Event) -> None:
        out.write(json.dumps(finite(to_json(event)), allow_nan=False) + "\n")
        out.flush()

    with redirect_stdout(sys.stderr):
        yield show


@contextmanager
def _live(console: Console) -> Iterator[Emit]:
    """Yield a function that prints an event's line above the live rows."""
    run = LiveRun()
    ascii_only = console.options.ascii_only

    def rows(width: int, height: int) -> list[Text]:
        return live_rows(run, time.time(), width, height, ascii_only=ascii_only)

    with pinned(console, rows) as lock:

        def show(event: Event) -> None:
            with lock:
                run.see(event)
                print_event(event, console)

        yield show
