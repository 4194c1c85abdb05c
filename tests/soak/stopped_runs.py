"""Small runs: one that finished, and two that were stopped where a kill might have."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from unittest import mock

import torch

from pbkd.config.load import load_config
from pbkd.core.events import EpochDone
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.runs.events import record_event
from pbkd.runs.folder import newest_run

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from pbkd.core.events import Emit, Event

__all__ = ["make_runs", "quickly"]


_STOPS = {"stopped early": "student-fed", "stopped late": "fine-tuning", "finished": ""}
"""The phase in which a run is stopped."""


class _Stopped(BaseException):
    """What stops the run where a kill would."""


def settings(out: Path) -> list[str]:
    """Return the overrides of a run of a second, with every phase, candidates and a target."""
    return [
        f"out={out}", "threads=1", "distill.epochs=2", "distill.student_fed_epochs=2",
        "finetune.epochs=2", "batch_size=32", "meters=[]", "recalibrate_batches=1",
        "target.block_drop=100",
        "keep=[stem*,head*,conv1_*,conv2_*]", "builder=separable", "candidates=[{name: low-rank}]",
        "target.macs=0.8", "allow_chance=true", "data=synthetic", "data.channels=1",
        "data.height=8", "data.width=8", "data.count=64",
    ]  # fmt: skip


@contextlib.contextmanager
def quickly() -> Iterator[None]:
    """Keep a checkpoint of every epoch, and time each network once."""
    from pbkd.models.latency import latencies

    def once(*args: object, **options: object) -> object:
        return latencies(*args, **{**options, "repeats": 1})  # type: ignore[arg-type]

    torch.set_num_threads(1)
    with (
        mock.patch("pbkd.training.checkpoint.STEPS_BETWEEN", 1),
        mock.patch("pbkd.pipeline.network_figures.latencies", once),
    ):
        yield


def make_runs(home: Path, states: Collection[str] = tuple(_STOPS)) -> dict[str, Path]:
    """Make runs: a finished one, and two that were stopped in the second epoch of a phase."""
    registry = build_registry()
    for name in states:
        phase = _STOPS[name]

        def stop(event: Event, phase: str = phase) -> None:
            if isinstance(event, EpochDone) and (event.phase, event.epoch) == (phase, 2):
                raise _Stopped

        def record(folder: Path, writer: str, event: Event, stop: Emit = stop) -> None:
            stop(event)
            record_event(folder, writer, event)

        with (
            quickly(),
            mock.patch("pbkd.execution.job.record_event", record),
            contextlib.suppress(_Stopped),
        ):
            run(load_config(settings(home / name)), registry, stop)
    return {name: newest_run(home / name) for name in states}
