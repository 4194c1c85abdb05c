"""`pbkd baseline`: a run's student trained the ordinary ways, to compare."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pbkd.runs.finished import Finished


def baseline(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    rest: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="method|key=value",
            help="scratch, distillation or both (without any: both); then, where files have moved,"
            " teacher.weights=FILE or data.path=PLACE.",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Seconds for each method; without it, what the run's training took."),
    ] = None,
    optimiser: Annotated[
        str, typer.Option(help="adamw (weight decay 0.05) or sgd (momentum 0.9, decay 0.0005).")
    ] = "adamw",
    lr: Annotated[
        float | None,
        typer.Option(help="Peak learning rate; without it, 0.003 for adamw and 0.1 for sgd."),
    ] = None,
) -> None:
    """Train a run's own student from random weights, as long as the run took.

    `scratch` learns the labels alone; `distillation` the whole teacher's soft targets too. Results
    go to baselines.json in the run's folder.
    """
    from pbkd.pipeline.baseline import BaselineEpoch, BaselineSettings, train_baselines
    from pbkd.runs.finished import METHODS, read_finished

    def show_epoch(done: BaselineEpoch) -> None:
        typer.echo(
            f"{done.method}, epoch {done.epoch} of {done.epochs}: loss {done.loss:.4f},"
            f" validation {100 * done.accuracy:.2f} %"
        )

    words = rest or []
    settings = BaselineSettings(
        methods=list(dict.fromkeys(word for word in words if "=" not in word)) or METHODS,
        overrides=[word for word in words if "=" in word],
        seconds=seconds,
        optimiser=optimiser,
        lr=lr,
        command=shlex.join(["pbkd", *sys.argv[1:]]),
    )
    train_baselines(run, settings, show_epoch)
    _show(read_finished(run))


def _show(finished: Finished) -> None:
    """Print the baselines below the run's own student, with the seconds that each was trained."""
    from pbkd.report.card import points
    from pbkd.report.console.display import print_wide

    spent, student = finished.training_seconds, finished.result.student
    seconds = "not measured" if spent is None else f"{spent:.1f}"
    rows = [("blockwise (the run)", points(student.accuracy), seconds, "")]
    rows += [
        (found.method, points(found.accuracy), f"{found.seconds:.1f}", str(found.epochs))
        for found in finished.baselines.values()
    ]
    print_wide(("training", "test accuracy", "seconds", "epochs"), rows, left=1)
    for found in finished.baselines.values():
        if found.note:
            typer.echo(f"{found.method}: {found.note}")
