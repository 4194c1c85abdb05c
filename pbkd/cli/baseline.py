"""`pbkd baseline`: what other methods make of a run's teacher, for comparison."""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pbkd.cli.arguments import Trust

if TYPE_CHECKING:
    from pbkd.pipeline.baselines.settings import BaselineEpoch
    from pbkd.runs.finished import Finished


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="key=value",
        help="If files have moved: teacher.weights=FILE or data.path=PATH. The ready network:"
        " ready=NAME ready.weights=FILE.",
    ),
]
Against = Annotated[
    list[str] | None,
    typer.Option(
        help="same-start, pruning, distillation, scratch or ready; can be repeated"
        " (default: same-start)."
    ),
]
Equal = Annotated[
    str, typer.Option(help="In what a pruned network equals the student: macs or milliseconds.")
]
Seconds = Annotated[
    float | None,
    typer.Option(
        help="Time of each training, on CPUs in CPU seconds per thread (default: the run's)."
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        help="Peak learning rate (default: the better of 0.001 and 0.003 for adamw, of 0.01 and"
        " 0.1 for sgd)."
    ),
]
Seeds = Annotated[int | None, typer.Option(help="Number of seeds (default: the run's seed alone).")]


def baseline(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    overrides: Overrides = None,
    against: Against = None,
    equal: Equal = "macs",
    seconds: Seconds = None,
    optimiser: Annotated[str, typer.Option(help="adamw, sgd or a plugin's.")] = "adamw",
    lr: Rate = None,
    seeds: Seeds = None,
    trust: Trust = None,
) -> None:
    """Compare a run's student with what other methods reach at equal cost.

    `same-start` trains the student as the run started it, end to end by ordinary distillation;
    `pruning` the teacher with all layers pruned alike; `distillation` and `scratch` the student
    from random weights, with and without the teacher; `ready` is a smaller network that has
    weights. Results are written to baselines.json and to the README of the run's folder.
    """
    from pbkd.cli.stop import say_when_stopped
    from pbkd.pipeline.baselines.settings import BaselineSettings
    from pbkd.pipeline.baselines.train import train_baselines
    from pbkd.runs.curves import run_of
    from pbkd.runs.finished import read_finished

    settings = BaselineSettings(
        methods=list(dict.fromkeys(against or ["same-start"])),
        overrides=overrides or (),
        equal=equal,
        seconds=seconds,
        optimiser=optimiser,
        lr=lr,
        seeds=seeds,
        command=shlex.join(["pbkd", *sys.argv[1:]]),
        trust=trust or (),
    )
    run = run_of(run)
    say_when_stopped(f"stopped; the trainings that ended are in '{run / 'baselines.json'}'")
    train_baselines(run, settings, _show_epoch)
    _show(read_finished(run))


_EPOCHS_SHOWN = 20


def _show_epoch(done: BaselineEpoch) -> None:
    """Print an epoch: with few images a training has hundreds, of which a few are shown."""
    if done.epoch % math.ceil(done.epochs / _EPOCHS_SHOWN) and done.epoch < done.epochs:
        return
    typer.echo(
        f"{done.method}, lr {done.lr:g}, seed {done.seed}, epoch {done.epoch} of {done.epochs}:"
        f" loss {done.loss:.4f}, validation {100 * done.score:.2f} %"
    )


def _show(finished: Finished) -> None:
    """Print the student beside the baselines, and who is ahead."""
    from pbkd.report.console.display import print_wide
    from pbkd.report.rivals import RIVAL_HEADS, rival_notes, rival_rows, rival_sentence

    print_wide(RIVAL_HEADS, rival_rows(finished), left=1)
    for text in (*rival_notes(finished), rival_sentence(finished)):
        typer.echo(text)
