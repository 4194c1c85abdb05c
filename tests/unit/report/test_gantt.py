from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from pbkd.core.blocks import BlockCost
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.core.workload import Workload
from pbkd.planning.timeline import Bar, timeline
from pbkd.report.gantt import gantt_svg
from pbkd.report.gantt_text import gantt_text, letters
from pbkd.report.numbers import duration

COSTS = [
    BlockCost("a<b>", 0, 2, 3, input_bytes=2),
    BlockCost("b", 2, 1, 3, input_bytes=2),
    BlockCost("c", 3, 1, 2, input_bytes=2),
]
NAMES = [cost.name for cost in COSTS]
WORKERS = [Worker(0, bandwidth=1, latency=0), Worker(1, bandwidth=1, latency=0)]
SVG = "{http://www.w3.org/2000/svg}"


def lines(schedule: Schedule, seconds: float, *, steps: int = 1) -> list[str]:
    bars = timeline(schedule, COSTS, WORKERS, Workload(steps, 1))
    return gantt_text(bars, len(WORKERS), NAMES, seconds)


def picture(bars: list[Bar], seconds: float, workers: int = 2, note: str = "n") -> str:
    return gantt_svg(bars, workers, NAMES, seconds, "title & more", note)


def test_text_of_jobs_that_are_recomputed() -> None:
    rows = lines(Schedule(((Job(("a<b>", "b")),), (Job(("c",)),))), 10)
    assert rows == [
        f"worker 0 |{'.' * 18}{'A' * 18}{'B' * 18}{' ' * 6}|",
        f"worker 1 |{'.' * 24}{'C' * 12}{' ' * 24}|",
        f"{'':8} 0 s{'10.0 s':>59}",
        "A a<b>, B b, C c, . teacher pass",
    ]


def test_text_of_shared_jobs_shows_who_took_them() -> None:
    jobs = (Job(("a<b>",)), Job(("b",)), Job(("c",)))
    rows = lines(Schedule(((), ()), shared=jobs), 12)
    assert rows[0] == f"worker 0 |{'.' * 10}{'A' * 15}{'.' * 20}{'C' * 10}{' ' * 5}|"
    assert rows[1] == f"worker 1 |{'.' * 15}{'B' * 15}{' ' * 30}|"


def test_text_of_a_relay_shows_when_a_span_starts_and_what_it_sends() -> None:
    schedule = Schedule(((Job(("a<b>",)),), (Job(("b", "c")),)), feed="relay")
    # 2 s teacher, 3 s training, 2 s sending; then 2 s teacher, 5 s training, 2 s receiving.
    rows = lines(schedule, 20)
    assert rows[0] == f"worker 0 |{'.' * 6}{'A' * 9}{'~' * 6}{' ' * 39}|"
    assert rows[1] == f"worker 1 |{' ' * 21}{'.' * 6}{'B' * 9}{'C' * 6}{'~' * 6}{' ' * 12}|"
    assert rows[-1].endswith(". teacher pass, ~ sending, receiving")


def test_text_of_a_cache_is_written_first() -> None:
    schedule = Schedule(((Job(("a<b>",)),), (Job(("b", "c")),)), feed="cache")
    rows = lines(schedule, 12, steps=2)  # written in 4 / 2 s
    assert rows[0] == f"worker 0 |{'+' * 10}{'A' * 30}{' ' * 20}|"
    assert rows[1] == f"worker 1 |{'+' * 10}{'B' * 30}{'C' * 20}|"


def test_every_line_of_many_workers_and_blocks_has_the_same_width() -> None:
    names = [f"block {index}" for index in range(60)]
    bars = [Bar(11, 0, 1, "training", names[53])]
    rows = gantt_text(bars, 12, names, 1)
    assert {len(row) for row in rows[:12]} == {len("worker 11 |") + 61}
    assert rows[11] == f"worker 11 |{'B' * 60}|"
    assert max(map(len, rows)) <= 72
    key = ", ".join(rows[13:]).replace(",, ", ", ").split(", ")
    assert key == [f"{letter} {name}" for name, letter in letters(names).items()]


def test_the_svg_needs_nothing_from_elsewhere_and_has_a_dark_side() -> None:
    schedule = Schedule(((Job(("a<b>",)),), (Job(("b", "c")),)), feed="relay")
    text = picture(timeline(schedule, COSTS, WORKERS, Workload(1, 1)), 16)
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(text).iter()}
    assert tags == {"svg", "title", "desc", "style", "rect", "text", "path"}
    assert not re.search(r"url\(|@import|@font-face|href", text)
    assert "prefers-color-scheme: dark" in text


def test_the_svgs_bars_are_where_the_text_has_them() -> None:
    schedule = Schedule(((Job(("a<b>", "b")),), (Job(("c",)),)))
    root = ElementTree.fromstring(picture(timeline(schedule, COSTS, WORKERS, Workload(1, 1)), 9))
    found = []
    for bar in root.iter(f"{SVG}rect"):
        title = bar.find(f"{SVG}title")
        if title is not None:
            x, width = float(bar.get("x", "")), float(bar.get("width", ""))
            found.append((title.text, round((x - 96) / 840 * 9, 2), round(width / 840 * 9, 2)))
    assert found == [
        ("teacher pass: 3.00 s", 0, 3),
        ("training of a<b>: 3.00 s", 3, 3),
        ("training of b: 3.00 s", 6, 3),
        ("teacher pass: 4.00 s", 0, 4),
        ("training of c: 2.00 s", 4, 2),
    ]


def test_a_bar_has_a_name_or_a_letter_that_the_key_explains_or_nothing() -> None:
    bars = [
        Bar(0, 0, 50, "training", "a<b>"),
        Bar(0, 50, 48, "training", "b"),
        Bar(1, 0, 2, "training", "a<b>"),
        Bar(1, 2, 0.1, "training", "c"),
    ]
    root = ElementTree.fromstring(picture(bars, 100))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    names = [e.text for e in root.iter(f"{SVG}text") if "name" in e.get("class", "")]
    assert names == ["a<b>", "b", "A"]
    assert "A a<b>, C c" in texts


def test_a_long_note_is_cut_where_it_is_seen_and_whole_where_it_is_read_out() -> None:
    note = "n" * 400
    root = ElementTree.fromstring(picture([], 1, note=note))
    assert root.findtext(f"{SVG}desc") == note
    (seen,) = [e.text or "" for e in root.iter(f"{SVG}text") if "nnn" in (e.text or "")]
    assert len(seen) < 140
    assert seen.endswith("…")


@pytest.mark.parametrize("seconds", [1e-5, 0.37, 1, 12.3, 1275, 9.9e6])
def test_the_axis_has_a_few_round_times_in_order(seconds: float) -> None:
    root = ElementTree.fromstring(picture([Bar(0, 0, seconds, "teacher")], seconds))
    ticks = [e.text or "" for e in root.iter(f"{SVG}text") if "tick" in e.get("class", "")]
    times = [float(tick.removesuffix(" s").replace(",", "")) for tick in ticks]
    assert 2 <= len(times) <= 7
    assert times[0] == 0
    assert times == sorted(set(times))
    assert times[-1] <= seconds


def test_durations_have_about_three_digits() -> None:
    written = [duration(seconds) for seconds in (0.00123, 0.5, 2, 12.345, 1274.76)]
    assert written == ["0.0012 s", "0.50 s", "2.00 s", "12.3 s", "1,275 s"]
