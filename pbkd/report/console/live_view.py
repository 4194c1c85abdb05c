"""The rows of a run in progress: its phase, one row per worker, its power."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from pbkd.runs.live import worker_lanes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.runs.live import Lane, LiveRun


__all__ = ["live_rows"]

_GAP = 2
_STYLES = ("green", "cyan")


@dataclass(frozen=True)
class _Column:
    """A column; in a narrow terminal, columns of the highest `rank` are left out first."""

    head: str
    rank: int
    cells: Sequence[Text]
    right: bool = False

    @property
    def width(self) -> int:
        return max(len(self.head), *(cell.cell_len for cell in self.cells))


def live_rows(run: LiveRun, now: float, width: int, height: int, *, ascii_only: bool) -> list[Text]:
    """Return the rows of a run in progress.

    Args:
        run: The state of the run.
        now: The time, in seconds since 1970.
        width: Columns of the terminal; every row is shorter.
        height: Rows of the terminal; fewer rows are returned.
        ascii_only: Whether the terminal shows ASCII alone.
    """
    if run.phase is None:
        return []
    lanes = worker_lanes(run, now)
    room = max(0, height - 5)
    shown, hidden = lanes[:room], len(lanes) - room
    rows = [_phase(run, lanes, now)]
    if shown and any(lane.job for lane in lanes):
        rows += _table(_columns(shown, width, ascii_only=ascii_only), width - 1)
        if hidden > 0:
            rows.append(Text(f"and {hidden} more workers", "dim"))
    if run.watts:
        watts = (f"{domain} {value:.0f} W" for domain, value in run.watts.items())
        rows.append(Text(f"power: {', '.join(watts)}"))
    for row in rows:
        row.truncate(width - 1, overflow="crop")
        row.rstrip()
    return rows[: max(0, height - 1)]


def _phase(run: LiveRun, lanes: Sequence[Lane], now: float) -> Text:
    assert run.phase is not None, "there is nothing to say before the first phase"
    parts = []
    total = run.totals.get(run.phase)
    if total:
        parts.append(f"{min(total, run.done(run.phase))} of {total} epochs")
    parts.append(_time(max(0.0, now - run.began)))
    left = [lane.seconds_left for lane in lanes if lane.seconds_left is not None]
    if left:
        parts.append(f"ETA {_time(max(left))}")
    return Text(f"{run.phase}: {', '.join(parts)}", "bold")


def _columns(lanes: Sequence[Lane], width: int, *, ascii_only: bool) -> list[_Column]:
    bar, name = (30, 24) if width >= 100 else (20, 14) if width >= 60 else (10, 14)
    longest = max(sum(seconds for seconds, _ in lane.bar) for lane in lanes)
    bars = [_bar(lane, bar / longest if longest else 0.0, ascii_only) for lane in lanes]
    figures = [_figures(lane) for lane in lanes]
    return [
        _Column("worker", 0, [Text("host" if n.worker is None else str(n.worker)) for n in lanes]),
        _Column("done", 4, bars),
        _Column("block", 1, [Text(_blocks(lane, name)) for lane in lanes]),
        *(
            _Column(head, rank, [Text(row[index]) for row in figures], right=True)
            for index, (head, rank) in enumerate(
                (("epoch", 2), ("loss", 5), ("images/s", 6), ("ETA", 3))
            )
        ),
    ]


def _bar(lane: Lane, scale: float, ascii_only: bool) -> Text:
    """Draw a worker's jobs in a row, each as long as planned and filled as far as done."""
    full, empty = "#-" if ascii_only else "█░"
    bar, end = Text(), 0.0
    for index, (seconds, share) in enumerate(lane.bar):
        start, end = end, end + seconds * scale
        cells = round(end) - round(start)
        filled = int(cells * share)
        bar.append(filled * full + (cells - filled) * empty, _STYLES[index % len(_STYLES)])
    return bar


def _blocks(lane: Lane, most: int) -> str:
    """Name the first block of the job, in at most `most` cells, and count the others."""
    if lane.job is None:
        return ""
    name, others = lane.job.blocks[0], len(lane.job.blocks) - 1
    more = f" +{others}" if others else ""
    room = most - len(more)
    return (name if len(name) <= room else f"{name[: room - 2]}..") + more


def _figures(lane: Lane) -> tuple[str, str, str, str]:
    """Return epoch, loss, images per second and time left."""
    job = lane.job
    if job is None:
        return "", "", "", ""
    return (
        f"{job.epoch}/{job.epochs}",
        "" if lane.loss is None else f"{lane.loss:.4f}",
        "" if job.images_per_second is None else f"{job.images_per_second:,.0f}",
        "" if lane.seconds_left is None else _time(lane.seconds_left),
    )


def _time(seconds: float) -> str:
    """Format a time, rounded."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _table(columns: Sequence[_Column], width: int) -> list[Text]:
    """Set as many columns side by side as fit."""
    kept = list(columns)
    while len(kept) > 1 and sum(c.width + _GAP for c in kept) - _GAP > width:
        kept.remove(max(kept, key=lambda column: column.rank))
    heads = [[Text(column.head, "dim") for column in kept]]
    lines = [*heads, *zip(*(column.cells for column in kept), strict=True)]
    return [_line(kept, cells) for cells in lines]


def _line(columns: Sequence[_Column], cells: Sequence[Text]) -> Text:
    line = Text(no_wrap=True)
    for column, cell in zip(columns, cells, strict=True):
        space = " " * (column.width - cell.cell_len)
        line.append_text(Text(space) + cell if column.right else cell + Text(space))
        line.append(" " * _GAP)
    return line
