"""A run's events as lines: all there is without a terminal, and what stands above its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.report.card import points
from pbkd.report.console.display import show_plan, show_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from pbkd.core.events import Event


__all__ = ["Lines"]


class Lines:
    """Prints what an event tells, if that is worth a line."""

    def __init__(self, console: Console, *, every_epoch: bool) -> None:
        """Print to `console`; of fine-tuning, which has no blocks, `every_epoch` if wanted."""
        self._console = console
        self._handlers: dict[str, Callable[[Event], None]] = {
            "teacher": self._teacher,
            "plan": self._plan,
            "block": self._block,
            "score": self._score,
            "note": lambda event: self._console.print(event["text"]),
            "resumed": lambda _event: self._console.print("the run was resumed"),
            "worker lost": self._incident,
            "restart": self._incident,
            "checkpoint damaged": self._incident,
            "result": lambda event: show_result(event["result"], self._console),
        }
        if every_epoch:
            self._handlers["fine-tuning epoch"] = self._fine_tuning

    def show(self, event: Event) -> None:
        """Print one event of a run."""
        if event["event"] in self._handlers:
            self._handlers[event["event"]](event)

    def _teacher(self, event: Event) -> None:
        images = f"{event['images']:,} test images"
        known = event["accuracy"] is not None
        score = f"{points(event['accuracy'])} of {images}" if known else f"{images}, no labels"
        self._console.print(f"teacher {event['name']}: {score}; cut by {event['cut']}")

    def _plan(self, event: Event) -> None:
        if "plan" in event:
            show_plan(event["plan"], self._console)
        else:  # recorded, by another process
            self._console.print(
                f"{len(event['blocks'])} trainings on {len(event['workers'])} worker(s), scheduler"
                f" {event['scheduler']}: about {event['seconds']:.0f} s of blockwise training"
            )
        self._console.print(f"run folder: {event['folder']}")

    def _block(self, event: Event) -> None:
        if event["failure"]:
            self._console.print(f"{event['block']}: failed {event['phase']}: {event['failure']}")
            return
        self._console.print(
            f"{event['block']}: trained {event['phase']} by worker {event['worker']},"
            f" loss {event['losses'][0]:.4f} to {event['losses'][-1]:.4f}"
        )

    def _score(self, event: Event) -> None:
        drop = f"alone it loses {100 * event['solo_drop']:.1f} points; accepted"
        verdict = f"keeps the teacher's: {event['reason']}" if event["reason"] else drop
        self._console.print(f"{event['block']}: {verdict}")

    def _fine_tuning(self, event: Event) -> None:
        figures = f"loss {event['loss']:.4f}, validation {points(event['accuracy'])}"
        self._console.print(f"fine-tuning, epoch {event['epoch']}: {figures}")

    def _incident(self, event: Event) -> None:
        what = event.get("reason") or f"process {event.get('pid')} gave no sign of life"
        self._console.print(f"{event['event']}: {what}")
