"""Two workers on one device, in every feed, and in phases that they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from pbkd.core.events import Event, JobStarted
from pbkd.core.results import RunResult
from pbkd.models.weights import read_weights
from tests.gpu.parts import Card, Outcome, ShortfallError
from tests.gpu.runs import check_student, short_run

__all__ = ["two_on_one_device"]

_SHARERS = """
import pbkd


class Sharers:
    name = "sharers"

    def schedule(self, costs, workers):
        job = pbkd.Job(tuple(cost.name for cost in costs))
        return pbkd.Schedule(((job,),) * len(workers), feed="relay")


@pbkd.hookimpl
def register_schedulers():
    return [Sharers]
"""
_FEEDS = {
    "recompute": "scheduler=lpt-scheduler",
    "relay": "scheduler=pipeline",
    "cache": "scheduler=cached",
    "replicas": "scheduler=sharers",
}
_SHARED = ("scoring", "fine-tuning")
_BLOCKS_ONLY = ("distill.student_fed_epochs=0", "finetune.epochs=0")
_OF_FEED = {
    "recompute": ("distill.student_fed_epochs=0", "finetune.epochs=1"),
    "relay": ("finetune.epochs=0",),  # in which the student-fed phase is a relay, too
}
_FALL = 0.5  # of the accuracy of a student that is not fine-tuned
_FAR = 0.5  # of the way that weights went: other kernels and sums let trainings drift apart
_NOTE = "exchange activations and gradients through the CPU (gloo)"


def two_on_one_device(card: Card) -> Outcome:
    """Train the same blocks in every feed; in one run the workers share all other phases, too."""
    plugin = card.work / "sharers.py"
    plugin.write_text(_SHARERS)
    alone = short_run(card, "alone", "scheduler=greedy", "workers=1", *_BLOCKS_ONLY)
    figures: dict[str, Any] = {}
    for feed, scheduler in _FEEDS.items():
        events: list[Event] = []
        shared = dict.fromkeys(_SHARED, 2) if feed == "recompute" else {}
        with patch("pbkd.pipeline.predict_phases.sharing_workers", _sharing(shared)):
            result = short_run(
                card,
                feed,
                scheduler,
                "workers=2",
                "cache_gigabytes=1",
                *_OF_FEED.get(feed, _BLOCKS_ONLY),
                plugins=(str(plugin),),
                emit=events.append,
            )
        begun = {(e.phase, e.worker) for e in events if isinstance(e, JobStarted)}
        missing = [name for name in ("teacher-fed", *shared) if (name, 1) not in begun]
        if missing or (card.is_gpu and not any(_NOTE in note for note in result.notes)):
            raise ShortfallError(f"{feed}: one worker in {missing}, or no note: {result.notes}")
        figures[feed] = {**check_student(card, result, _FALL), "apart": _apart(alone, result)}
    far = {feed: each["apart"] for feed, each in figures.items() if each["apart"] > _FAR}
    line = ", ".join(f"{feed} {each['apart']:.2g}" for feed, each in figures.items())
    if far:
        raise ShortfallError(f"weights are far from those of one worker: {line}")
    return Outcome(f"apart from one worker, as a share of the way: {line}", figures)


def _sharing(shared: dict[str, int]) -> Any:
    def choose(_work: object, workers: Any, _modelled_on: object) -> dict[str, Any]:
        return {name: tuple(workers[:count]) for name, count in shared.items()}

    return choose


def _apart(one: RunResult, other: RunResult) -> float:
    """Return how far the weights of blocks are apart, relative to the way from their start."""
    away = way = 0.0
    for path in sorted(Path(one.folder, "teacher-fed").glob("*.safetensors")):
        mine, theirs, start = (
            read_weights(Path(folder, phase, path.name))
            for folder, phase in (
                (one.folder, "teacher-fed"),
                (other.folder, "teacher-fed"),
                (one.folder, "initial"),
            )
        )
        for name, tensor in mine.items():
            away += float((tensor - theirs[name]).double().square().sum())
            way += float((tensor - start[name]).double().square().sum())
    return float(torch.tensor(away / way).sqrt())
