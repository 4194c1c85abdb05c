"""All commands, and their errors as sentences."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from pbkd.cli import (
    baseline,
    bench,
    compare,
    curve,
    cut,
    doctor,
    export,
    hub,
    latency,
    plugins,
    report,
    run,
    status,
    watch,
    zoo,
)
from pbkd.cli.home import with_home
from pbkd.cli.plan.command import plan
from pbkd.core.terminal_text import clean_stream

__all__ = ["app", "run_command"]

_LONGEST = 4000  # characters of a mistake

app = typer.Typer(
    name="pbkd",
    help="Compress a trained CNN by parallel blockwise knowledge distillation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(name="run")(run.run)
app.command(name="curve")(curve.curve)
app.command(name="pick")(curve.pick)
app.command(name="status")(status.status)
app.command(name="watch")(watch.watch)
app.command(name="plan")(plan)
app.command(name="cut")(cut.cut)
app.command(name="compare")(compare.compare)
app.command(name="report")(report.report)
app.command(name="baseline")(baseline.baseline)
app.command(name="latency")(latency.latency)
app.command(name="export")(export.export)
app.command(name="bench")(bench.bench)
app.command(name="doctor")(doctor.doctor)
app.add_typer(zoo.app, name="zoo")
app.add_typer(hub.app, name="hub")
app.add_typer(plugins.app, name="plugins")
for group in (app, zoo.app, hub.app, plugins.app):
    for command in group.registered_commands:
        command.callback = command.callback and with_home(command.callback)


def run_command() -> None:
    """Run the command line; a user's mistake is one sentence on stderr and exit code 2."""
    from pbkd.errors import PbkdError, is_out_of_memory

    # OpenMP threads that spin for long make other busy processes ten times slower; without any
    # spinning, small networks are twice as slow. torch reads this when it is imported.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    # Silence the log lines of torch's profiler.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    sys.stdout, sys.stderr = clean_stream(sys.stdout), clean_stream(sys.stderr)
    if not all(map(str.isprintable, sys.argv)):
        app.rich_markup_mode = None  # rich would write its message past the clean streams
    try:
        app(prog_name="pbkd")
    except PbkdError as error:
        _end(str(error))
    except Exception as error:
        if is_out_of_memory(error):
            _end("memory ran out: choose a smaller batch_size or fewer workers.")
        if isinstance(error, OSError):
            _end(f"a file cannot be read or written: {error}.")
        raise


def _end(mistake: str) -> NoReturn:
    text = " ".join(mistake.split())
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    sys.stderr.write(f"pbkd: {shown}\n")
    sys.exit(2)
