"""`pbkd baseline`: a run's student trained by conventional methods, for comparison."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pbkd.cli.arguments import Trust

if TYPE_CHECKING:
    from pbkd.runs.finished import Finished


def baseline(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    rest: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="method|key=value",
            help="Methods: scratch or distillation (default: both). If files have moved:"
            " teacher.weights=FILE or data.path=PATH.",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Training time of each method, in seconds (default: the run's)."),
    ] = None,
    optimiser: Annotated[
        str,
        typer.Option(help="adamw (weight decay 0.05), sgd (0.0005) or a plugin's (0)."),
    ] = "adamw",
    lr: Annotated[
        float | None,
        typer.Option(help="Peak learning rate (default: 0.003 for adamw, 0.1 for sgd)."),
    ] = None,
    trust: Trust = None,
) -> None:
    """Train the architecture of a run's student from random weights, for the time of the run.

    `scratch` learns from the labels; `distillation` also from the teacher's soft targets. Results
    are written to baselines.json in the run's folder.
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
        trust=trust or (),
    )
    train_baselines(run, settings, show_epoch)
    _show(read_finished(run))


def _show(finished: Finished) -> None:
    """Print the accuracy and training time of the run's student and of the baselines."""
    from pbkd.report.console.display import print_wide
    from pbkd.report.scores import score_text

    spent, student = finished.training_seconds, finished.result.student
    seconds = "not measured" if spent is None else f"{spent:.1f}"
    images = finished.result.test_images
    rows = [("blockwise (the run)", score_text(student.accuracy, images), seconds, "")]
    rows += [
        (row.method, score_text(row.accuracy, images), f"{row.seconds:.1f}", str(row.epochs))
        for row in finished.baselines.values()
    ]
    print_wide(("training", "test accuracy", "seconds", "epochs"), rows, left=1)
    for row in finished.baselines.values():
        if row.note:
            typer.echo(f"{row.method}: {row.note}")
