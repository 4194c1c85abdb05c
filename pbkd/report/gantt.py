"""A Gantt chart of a schedule as SVG."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from pbkd.report.gantt_text import BAR_KINDS, letters, wrap_items
from pbkd.report.markup import html_text
from pbkd.report.numbers import duration, round_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.planning.timeline import Bar

__all__ = ["WIDTH", "gantt_drawing", "gantt_svg"]

# Sizes of the SVG in pixels.
WIDTH, _LEFT, _RIGHT, _ROW, _BAR, _TOP, _LETTER = 960, 96, 24, 32, 24, 92, 7.2

_STYLE = """\
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; \
font-size: 13px; fill: #24292f }
.title { font-size: 16px; font-weight: 700 }
.note, .tick { font-size: 12px; fill: #57606a }
.end { text-anchor: end }
.mid { text-anchor: middle }
.panel { fill: #ffffff; stroke: #d0d7de }
.lane { fill: #f4f5f7 }
.grid { stroke: #d0d7de }
.teacher { fill: #a9b4c2 }
.training { fill: #8fd0a8 }
.training.odd { fill: #b9e3c8 }
.transfer { fill: #e0a63a }
.cache { fill: #a5b9ea }
.name { font-size: 12px; fill: #12351f; pointer-events: none }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.note, .tick { fill: #9da7b3 }
.panel { fill: #0d1117; stroke: #30363d }
.lane { fill: #161b22 }
.grid { stroke: #30363d }
.teacher { fill: #57606a }
.training { fill: #2a7d4c }
.training.odd { fill: #1e5c38 }
.transfer { fill: #bf7d0a }
.cache { fill: #3b5aa8 }
.name { fill: #e6edf3 }
}"""


def gantt_svg(
    bars: Sequence[Bar], workers: int, blocks: Sequence[str], seconds: float, title: str, note: str
) -> str:
    """Return the chart as a self-contained SVG for light and dark pages.

    A bar shows its block's name if that fits, else its letter, which a key explains; every bar has
    a tooltip.

    Args:
        bars: The bars, worker by worker.
        workers: Number of workers, each of which gets a row.
        blocks: Names of all blocks, in chain order.
        seconds: The time at the right end.
        title: The title.
        note: The line below the title.
    """
    height, drawing = gantt_drawing(bars, workers, blocks, seconds, note)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" role="img" aria-labelledby="title desc">',
        f'<title id="title">{html_text(title)}</title>',
        f'<desc id="desc">{html_text(note)}</desc>',
        f"<style>\n{_STYLE}\n</style>",
        f'<rect class="panel" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="10"/>',
        f'<text class="title" x="24" y="34">{html_text(title)}</text>',
        *drawing,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def gantt_drawing(
    bars: Sequence[Bar], workers: int, blocks: Sequence[str], seconds: float, note: str
) -> tuple[int, list[str]]:
    """Return the height of the chart, `WIDTH` pixels wide, and the SVG elements below its title.

    The elements have classes but no styles. The arguments are as for `gantt_svg`.
    """
    bottom = _TOP + workers * _ROW
    key = _letter_key(bars, blocks, seconds)
    elements = [
        f'<text class="note" x="24" y="54">{html_text(_shortened(note))}</text>',
        *_swatches(sorted({bar.kind for bar in bars}, key=list(BAR_KINDS).index)),
        *_lanes(workers),
        *_axis(seconds, bottom),
        *_bars(bars, blocks, seconds),
        *(
            f'<text class="note" x="{_LEFT}" y="{bottom + 46 + 18 * index}">'
            f"{html_text(line)}</text>"
            for index, line in enumerate(key)
        ),
    ]
    return bottom + 44 + 18 * len(key), elements


def _x(time: float, seconds: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * time / seconds


def _swatches(kinds: Sequence[str]) -> list[str]:
    """Return the legend: a swatch and a text for each kind of bar."""
    parts, x = [], 24.0
    for kind in kinds:
        parts.append(f'<rect class="{kind}" x="{x:.1f}" y="66" width="12" height="12" rx="2"/>')
        parts.append(f'<text class="note" x="{x + 18:.1f}" y="76">{BAR_KINDS[kind]}</text>')
        x += 42 + _LETTER * len(BAR_KINDS[kind])
    return parts


def _lanes(workers: int) -> list[str]:
    parts = []
    for worker in range(workers):
        y = _TOP + worker * _ROW
        parts.append(
            f'<rect class="lane" x="{_LEFT}" y="{y + 4}" width="{WIDTH - _LEFT - _RIGHT}"'
            f' height="{_BAR}"/>'
        )
        parts.append(f'<text class="end" x="{_LEFT - 10}" y="{y + 21}">worker {worker}</text>')
    return parts


def _axis(seconds: float, bottom: int) -> list[str]:
    """Return vertical lines at round times and at the end, labelled with the times."""
    parts = []
    step = round_step(seconds / 6)
    for index in range(int(seconds / step) + 1):
        x = _x(index * step, seconds)
        parts.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom + 6}"/>')
        if x < WIDTH - _RIGHT - 60 or index == 0:
            text = f"{index * step:,.6g} s"
            parts.append(f'<text class="tick mid" x="{x:.1f}" y="{bottom + 22}">{text}</text>')
    end = WIDTH - _RIGHT
    parts.append(f'<path class="grid" d="M{end} {_TOP}V{bottom + 6}"/>')
    parts.append(f'<text class="end" x="{end}" y="{bottom + 22}">{duration(seconds)}</text>')
    return parts


def _bars(bars: Sequence[Bar], blocks: Sequence[str], seconds: float) -> list[str]:
    parts = []
    position = {name: index for index, name in enumerate(blocks)}
    marks = letters(blocks)
    for worker, lane in groupby(bars, key=lambda bar: bar.worker):
        y = _TOP + worker * _ROW + 4
        for bar in lane:
            parts += _bar(bar, y, seconds, position, marks)
    return parts


def _bar(
    bar: Bar, y: int, seconds: float, position: Mapping[str, int], marks: Mapping[str, str]
) -> list[str]:
    start, end = _x(bar.start, seconds), _x(bar.start + bar.seconds, seconds)
    odd = " odd" if bar.block and position[bar.block] % 2 else ""
    what = f"{BAR_KINDS[bar.kind]}{f' of {bar.block}' if bar.block else ''}"
    parts = [
        f'<rect class="{bar.kind}{odd}" x="{start:.2f}" y="{y}" width="{end - start:.2f}"'
        f' height="{_BAR}"><title>{html_text(what)}: {duration(bar.seconds)}</title></rect>'
    ]
    label = _label(bar, seconds, marks)
    if label:
        middle = f'x="{(start + end) / 2:.1f}" y="{y + 16}"'
        parts.append(f'<text class="name mid" {middle}>{html_text(label)}</text>')
    return parts


def _label(bar: Bar, seconds: float, marks: Mapping[str, str]) -> str:
    """Return the label that fits into a bar: its block's name, its letter, or nothing."""
    if not bar.block:
        return ""
    width = _x(bar.seconds, seconds) - _LEFT
    fitting = (text for text in (bar.block, marks[bar.block]) if width >= _LETTER * len(text) + 4)
    return next(fitting, "")


def _letter_key(bars: Sequence[Bar], blocks: Sequence[str], seconds: float) -> list[str]:
    """Return the lines of the key to the letters in the bars."""
    marks = letters(blocks)
    used = {bar.block for bar in bars if bar.block and _label(bar, seconds, marks) != bar.block}
    names = [f"{marks[name]} {name}" for name in blocks if name in used]
    columns = int((WIDTH - _LEFT - _RIGHT) / _LETTER)
    return wrap_items(names, columns)


def _shortened(note: str) -> str:
    columns = int((WIDTH - 48) / _LETTER)
    return note if len(note) <= columns else f"{note[: columns - 1]}…"
