"""A Gantt chart of a schedule, as text and as SVG."""

from __future__ import annotations

import math
import string
import textwrap
from itertools import groupby
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.planning.timeline import Bar

__all__ = [
    "WIDTH",
    "duration",
    "gantt_drawing",
    "gantt_svg",
    "gantt_text",
    "letters",
    "round_step",
]

_LETTERS = string.ascii_uppercase + string.ascii_lowercase
_MARKS = {"teacher": ".", "transfer": "~", "cache": "+"}
_MEANINGS = {
    "teacher": "teacher pass",
    "training": "training",
    "transfer": "sending, receiving",
    "cache": "writing the cache",
}
_TEXT_COLUMNS = 60
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


def duration(seconds: float) -> str:
    """Write seconds with about three digits."""
    digits = 0 if seconds >= 100 else 1 if seconds >= 10 else 2 if seconds >= 0.1 else 4
    return f"{seconds:,.{digits}f} s"


def letters(blocks: Sequence[str]) -> dict[str, str]:
    """Return a letter for each block, in order; after 52 they begin again."""
    return {name: _LETTERS[index % len(_LETTERS)] for index, name in enumerate(blocks)}


def gantt_text(
    bars: Sequence[Bar], workers: int, blocks: Sequence[str], seconds: float
) -> list[str]:
    """Return lines: one for each worker, a column each for a part of the makespan, then the key.

    A column shows what its middle falls into; what is shorter than a column may not be seen.
    """
    marks = letters(blocks)
    label = len(f"worker {workers - 1}")
    lanes = [[" "] * _TEXT_COLUMNS for _ in range(workers)]
    for bar in bars:
        mark = marks[bar.block] if bar.block else _MARKS[bar.kind]
        start, end = (_column(time, seconds) for time in (bar.start, bar.start + bar.seconds))
        lanes[bar.worker][start:end] = [mark] * (end - start)
    rows = [f"{f'worker {worker}':{label}} |{''.join(lane)}|" for worker, lane in enumerate(lanes)]
    scale = f"{'':{label}} 0 s{duration(seconds):>{_TEXT_COLUMNS - 1}}"
    seen = "".join(rows)
    key = [f"{mark} {_MEANINGS[kind]}" for kind, mark in _MARKS.items() if mark in seen]
    names = [f"{mark} {name}" for name, mark in marks.items()]
    return [*rows, scale, *_wrapped([*names, *key], label + _TEXT_COLUMNS + 3)]


def gantt_svg(
    bars: Sequence[Bar], workers: int, blocks: Sequence[str], seconds: float, title: str, note: str
) -> str:
    """Return a self-contained SVG, for light and dark pages, of the same chart.

    A bar has its block's name where that fits, else its letter, with a key, and always a tooltip.
    """
    height, drawing = gantt_drawing(bars, workers, blocks, seconds, note)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" role="img" aria-labelledby="title desc">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="desc">{escape(note)}</desc>',
        f"<style>\n{_STYLE}\n</style>",
        f'<rect class="panel" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="10"/>',
        f'<text class="title" x="24" y="34">{escape(title)}</text>',
        *drawing,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def gantt_drawing(
    bars: Sequence[Bar], workers: int, blocks: Sequence[str], seconds: float, note: str
) -> tuple[int, list[str]]:
    """Return the chart's height, its width being `WIDTH`, and the elements below its title.

    Their classes are styled by whoever puts them into an SVG.
    """
    bottom = _TOP + workers * _ROW
    key = _letter_key(bars, blocks, seconds)
    elements = [
        f'<text class="note" x="24" y="54">{escape(_shortened(note))}</text>',
        *_swatches(sorted({bar.kind for bar in bars}, key=list(_MEANINGS).index)),
        *_lanes(workers),
        *_axis(seconds, bottom),
        *_bars(bars, blocks, seconds),
        *(
            f'<text class="note" x="{_LEFT}" y="{bottom + 46 + 18 * index}">{escape(line)}</text>'
            for index, line in enumerate(key)
        ),
    ]
    return bottom + 44 + 18 * len(key), elements


def _column(time: float, seconds: float) -> int:
    return min(_TEXT_COLUMNS, round(_TEXT_COLUMNS * time / seconds))


def _x(time: float, seconds: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * time / seconds


def _swatches(kinds: Sequence[str]) -> list[str]:
    """Return a swatch and a text for each kind of bar, on the line below the note."""
    parts, x = [], 24.0
    for kind in kinds:
        parts.append(f'<rect class="{kind}" x="{x:.1f}" y="66" width="12" height="12" rx="2"/>')
        parts.append(f'<text class="note" x="{x + 18:.1f}" y="76">{_MEANINGS[kind]}</text>')
        x += 42 + _LETTER * len(_MEANINGS[kind])
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
    """Return vertical lines at round times and at the end, with the times below."""
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


def round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5, 10, … times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)


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
    what = f"{_MEANINGS[bar.kind]}{f' of {bar.block}' if bar.block else ''}"
    parts = [
        f'<rect class="{bar.kind}{odd}" x="{start:.2f}" y="{y}" width="{end - start:.2f}"'
        f' height="{_BAR}"><title>{escape(what)}: {duration(bar.seconds)}</title></rect>'
    ]
    label = _label(bar, seconds, marks)
    if label:
        middle = f'x="{(start + end) / 2:.1f}" y="{y + 16}"'
        parts.append(f'<text class="name mid" {middle}>{escape(label)}</text>')
    return parts


def _label(bar: Bar, seconds: float, marks: Mapping[str, str]) -> str:
    """Return what fits into a bar: its block's name, its letter, or nothing."""
    if not bar.block:
        return ""
    width = _x(bar.seconds, seconds) - _LEFT
    fitting = (text for text in (bar.block, marks[bar.block]) if width >= _LETTER * len(text) + 4)
    return next(fitting, "")


def _letter_key(bars: Sequence[Bar], blocks: Sequence[str], seconds: float) -> list[str]:
    """Return lines that say which blocks the letters in the bars stand for."""
    marks = letters(blocks)
    used = {bar.block for bar in bars if bar.block and _label(bar, seconds, marks) != bar.block}
    names = [f"{marks[name]} {name}" for name in blocks if name in used]
    columns = int((WIDTH - _LEFT - _RIGHT) / _LETTER)
    return _wrapped(names, columns)


def _shortened(note: str) -> str:
    columns = int((WIDTH - 48) / _LETTER)
    return note if len(note) <= columns else f"{note[: columns - 1]}…"


def _wrapped(items: Sequence[str], columns: int) -> list[str]:
    """Return lines of items with commas between; a line ends between two items."""
    joined = ", ".join(item.replace(" ", "\N{NO-BREAK SPACE}") for item in items)
    lines = textwrap.wrap(joined, columns, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
