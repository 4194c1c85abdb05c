"""What each worker really did, from the events of a run: its jobs as the bars of a Gantt chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbkd.planning.timeline import Bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.events import Event

__all__ = ["job_bars"]

_MOST_WORKERS = 1024
_LATEST = 1e12  # seconds; what is beyond is no time


def job_bars(events: Sequence[Event], phase: str) -> list[Bar]:
    """Return a bar for each job that was done in a phase, worker by worker; none where none was.

    Seconds count from the start of the first job. A bar's block names all blocks of the job, of
    which a run records only when they were done together. Of workers that shared a job, only the
    one that told of it has a bar. Events that are none of pbkd's are left out.
    """
    done = {
        event["block"]: event
        for event in events
        if event["event"] == "block" and event.get("phase") == phase and _is_sound(event)
    }
    jobs: dict[tuple[int, float], list[Event]] = {}
    for event in done.values():
        jobs.setdefault((event["worker"], event["job_seconds"]), []).append(event)
    ends = {job: min(event["time"] for event in told) for job, told in jobs.items()}
    begin = min((end - job[1] for job, end in ends.items()), default=0.0)
    bars = [
        Bar(worker, ends[worker, seconds] - seconds - begin, seconds, "training", _names(told))
        for (worker, seconds), told in jobs.items()
    ]
    return sorted(bars, key=lambda bar: (bar.worker, bar.start))


def _is_sound(event: Event) -> bool:
    worker, name = event.get("worker"), event.get("block")
    return (
        isinstance(name, str)
        and type(worker) is int
        and 0 <= worker < _MOST_WORKERS
        and _is_time(event.get("job_seconds"))
        and _is_time(event.get("time"))
    )


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < _LATEST


def _names(told: Sequence[Event]) -> str:
    names = [event["block"] for event in told]
    return ", ".join(names) if len(names) < 4 else f"{names[0]} and {len(names) - 1} others"
