"""`pbkd status`: progress of a run."""

from __future__ import annotations

import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.events import Event


def status(
    folder: Annotated[
        Path | None, typer.Argument(help="Run folder (default: the newest in `runs`).")
    ] = None,
) -> None:
    """Show the progress of a run, whether it is still running, and how to resume it."""
    from pbkd.config.load import load_config
    from pbkd.report.incidents import describe_incident
    from pbkd.runs.configuration import configuration_file
    from pbkd.runs.curves import is_finished_curve, point_folders
    from pbkd.runs.events import event_faults, read_events
    from pbkd.runs.finished import read_finished
    from pbkd.runs.folder import is_finished, newest_run
    from pbkd.runs.lock import is_held
    from pbkd.runs.progress import unrecorded

    folder = folder or newest_run(Path("runs"))
    config = load_config(file=configuration_file(folder))
    events = read_events(folder)
    typer.echo(f"run folder: {folder}")
    for phase, epochs in (
        ("teacher-fed", config.distill.epochs),
        ("student-fed", config.distill.student_fed_epochs),
        ("fine-tuning", config.finetune.epochs),
    ):
        if config.target.curve is None or phase == "teacher-fed":
            typer.echo(f"{phase}: {_progress(events, phase, epochs or 0)}")
    for point, where in point_folders(folder).items():
        typer.echo(f"point {point}: {_point(where)}")
    if events:
        typer.echo(f"last event: {max(0.0, time.time() - events[-1].time):.0f} s ago")
    for incident in filter(None, map(describe_incident, events)):
        typer.echo(incident)
    finished = is_finished(folder)
    has_curve = is_finished_curve(folder)
    recorded = read_finished(folder).result.events if finished and not has_curve else {}
    for fault in event_faults(folder, recorded):
        typer.echo(f"damaged: {fault}")
    if finished:
        card = "each point's README.md" if has_curve else "README.md there"
        typer.echo(f"finished; {card} is the model card")
    elif is_held(folder):
        typer.echo("running")
    else:
        report = {name: (folder / name).is_file() for name in ("README.md", "result.json")}
        missing = [f"'{folder / name}' is missing." for name in report if not report[name]]
        for fault in (*(missing if any(report.values()) else ()), *unrecorded(folder, events)):
            typer.echo(f"damaged: {fault}")
        typer.echo(f"stopped; go on with `pbkd run --resume {quote(str(folder))}`")


def _point(folder: Path) -> str:
    """Describe how far a point of a curve is."""
    from pbkd.config.load import load_config
    from pbkd.core.events import PhaseStarted
    from pbkd.runs.configuration import configuration_file
    from pbkd.runs.events import read_events
    from pbkd.runs.folder import is_finished

    if is_finished(folder):
        return "finished"
    events = read_events(folder)
    phases = [event.phase for event in events if isinstance(event, PhaseStarted)]
    epochs = load_config(file=configuration_file(folder)).finetune.epochs or 0
    return f"in {phases[-1]}; fine-tuning: {_progress(events, 'fine-tuning', epochs)}"


def _progress(events: Sequence[Event], phase: str, epochs: int) -> str:
    """Describe a phase: the number of finished blocks, and the epoch of each block."""
    from pbkd.core.events import BlockTrained, EpochDone

    if not epochs:
        return "none"
    reached: dict[str, int] = {}
    for event in events:
        if isinstance(event, EpochDone) and event.phase == phase:
            reached[event.block] = max(reached.get(event.block, 0), event.epoch)
    if not reached:
        return f"not begun, {epochs} epochs"
    done = {e.block for e in events if isinstance(e, BlockTrained) and e.phase == phase}
    done |= {name for name, epoch in reached.items() if epoch == epochs and name == "student"}
    each = ", ".join(f"{name} {epoch}" for name, epoch in reached.items())
    return f"{len(done)} of {len(reached)} done, of {epochs} epochs: {each}"
