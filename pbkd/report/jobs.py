"""The jobs that workers did, from the events of a run, as bars of a Gantt chart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.events import BlockTrained, CostsChecked
from pbkd.planning.timeline import Bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.events import Event

__all__ = ["is_split_anew", "job_bars"]

_MOST_WORKERS = 1024
_LATEST = 1e12  # seconds; later times are implausible


def is_split_anew(events: Sequence[Event]) -> bool:
    """Return whether jobs ended early, so that the seconds of the later ones are not all."""
    return any(isinstance(event, CostsChecked) and event.split_anew for event in events)


def job_bars(events: Sequence[Event], phase: str) -> list[Bar]:
    """Return a bar for each job of a phase, sorted by worker and start.

    Only the worker that reported a shared job has a bar for it. Events with implausible figures
    are left out, since the events may come from an untrusted file.

    Args:
        events: The events of a run.
        phase: A blockwise phase.

    Returns:
        The bars. Their seconds count from the start of the first job; their `block` names all
        blocks of the job.
    """
    done = {
        event.block: event
        for event in events
        if isinstance(event, BlockTrained) and event.phase == phase and _is_plausible(event)
    }
    jobs: dict[tuple[int, float], list[BlockTrained]] = {}
    for event in done.values():
        jobs.setdefault((event.worker, event.job_seconds), []).append(event)
    ends = {job: min(block.time for block in blocks) for job, blocks in jobs.items()}
    begin = min((end - job[1] for job, end in ends.items()), default=0.0)
    bars = [
        Bar(worker, ends[worker, seconds] - seconds - begin, seconds, "training", _names(blocks))
        for (worker, seconds), blocks in jobs.items()
    ]
    return sorted(bars, key=lambda bar: (bar.worker, bar.start))


def _is_plausible(event: BlockTrained) -> bool:
    times = event.job_seconds, event.time
    return 0 <= event.worker < _MOST_WORKERS and all(0 <= time < _LATEST for time in times)


def _names(blocks: Sequence[BlockTrained]) -> str:
    names = [event.block for event in blocks]
    return ", ".join(names) if len(names) < 4 else f"{names[0]} and {len(names) - 1} others"
