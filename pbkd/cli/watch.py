"""`pbkd watch`: the display of `pbkd run` for a run in another process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from pbkd.cli.arguments import AsJson
from pbkd.cli.stop import say_when_stopped

if TYPE_CHECKING:
    from pbkd.core.events import Event

_POLL_SECONDS = 0.25


def watch(
    folder: Annotated[
        Path | None, typer.Argument(help="Run folder (default: the newest in `runs`).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Follow a run until it finishes or stops; Ctrl-C does not affect the run.

    The exit code is 0 if the run has finished, 1 if it was stopped.
    """
    from pbkd.errors import RunFolderError
    from pbkd.runs.folder import is_finished, newest_run

    folder = folder or newest_run(Path("runs"))
    if not (folder / "config.yaml").is_file():
        raise RunFolderError(
            f"'{folder}' is not a run folder: name the folder that `pbkd run` printed."
        )
    say_when_stopped(f"no longer watching '{folder}'; the run is not affected")
    _show(folder, as_json=as_json)
    if not is_finished(folder):
        if not as_json:
            typer.echo(f"stopped; go on with `pbkd run --resume {quote(str(folder))}`")
        raise typer.Exit(1)


def _show(folder: Path, *, as_json: bool) -> None:
    from pbkd.core.events import RunFinished, RunStopped
    from pbkd.report.console.show import shown
    from pbkd.runs.events import event_faults
    from pbkd.runs.finished import finished_event
    from pbkd.runs.folder import is_finished

    recorded: Mapping[str, int] = {}
    with shown(as_json=as_json) as show:
        for event in _until_the_end(folder):
            show(event)
        if is_finished(folder):
            end = finished_event(folder)
            recorded = end.result.events if isinstance(end, RunFinished) else {}
            show(end)
        else:
            show(RunStopped(folder=str(folder)))
    for fault in event_faults(folder, recorded):
        typer.echo(f"pbkd: {fault}", err=True)


def _until_the_end(folder: Path) -> Iterator[Event]:
    """Yield the events of a run, past and new ones, until no process runs it."""
    from pbkd.runs.events import new_events
    from pbkd.runs.lock import is_held

    offsets: dict[Path, int] = {}
    while True:
        is_running = (folder / "config.yaml").is_file() and is_held(folder)
        yield from new_events(folder, offsets)
        if not is_running:
            return
        time.sleep(_POLL_SECONDS)
