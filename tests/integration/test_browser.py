"""The pages as a browser shows them; skipped where there is no playwright or no Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pbkd.report.compare_page import compare_page
from pbkd.report.run_page import run_page
from tests.unit.report.pages import large, three_runs

WIDTHS = (375, 1440)
NAMES = ("run.html", "comparison.html")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "run.html").write_text(run_page(large()))
    (folder / "comparison.html").write_text(compare_page(three_runs()))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_page_draws_every_chart_asks_for_nothing_and_complains_of_nothing(
    opened: Any, pages: Path, name: str
) -> None:
    url = (pages / name).as_uri()
    opened.goto(url)
    sizes = opened.eval_on_selector_all(
        "svg", "charts => charts.map(c => [c.getBoundingClientRect().width, c.getBBox().height])"
    )
    assert len(sizes) >= 6
    assert all(width > 20 and height > 5 for width, height in sizes), sizes
    assert [asked for asked in opened.requests if not asked.startswith("data:")] == [url]
    assert opened.complaints == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_wider_than_the_screen(
    opened: Any, pages: Path, name: str, width: int, tmp_path: Path
) -> None:
    opened.set_viewport_size({"width": width, "height": 800})
    opened.goto((pages / name).as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.screenshot(path=tmp_path / f"{width}.png", full_page=True)  # for eyes


def test_the_switch_changes_the_theme_from_the_systems_and_back(opened: Any, pages: Path) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    opened.goto((pages / "run.html").as_uri())
    light = opened.evaluate(colour)
    opened.click("#theme")
    dark = opened.evaluate(colour)
    assert light != dark
    assert opened.inner_text("#theme") == "Light"
    opened.click("#theme")
    assert opened.evaluate(colour) == light
    opened.emulate_media(color_scheme="dark")  # which the switch has overruled
    assert opened.evaluate(colour) == light
    opened.reload()
    assert opened.evaluate(colour) == dark
    opened.emulate_media(media="print")
    assert opened.evaluate(colour) == light


def test_a_click_sorts_the_table_and_what_was_not_measured_is_last(
    opened: Any, pages: Path
) -> None:
    opened.goto((pages / "comparison.html").as_uri())
    heads = opened.eval_on_selector_all(".sortable th[scope=col]", "h => h.map(e => e.textContent)")

    def sorted_by(head: str) -> list[str]:
        opened.click(f".sortable th[scope=col]:nth-child({heads.index(head) + 1}) button")
        cells = opened.eval_on_selector_all(
            ".sortable td:nth-child(2)", "cells => cells.map(c => c.textContent)"
        )
        return list(cells)

    assert sorted_by("student's accuracy") == ["b", "a", "c"]
    assert sorted_by("student's accuracy") == ["a", "b", "c"]
    assert sorted_by("MACs")[-1] == "b"  # 5.00x, after 2.50x
    assert sorted_by("run") == ["a", "b", "c"]
    assert sorted_by("run") == ["c", "b", "a"]


def test_a_run_of_27_blocks_opens_within_a_second(opened: Any, pages: Path) -> None:
    opened.goto((pages / "run.html").as_uri())
    milliseconds = opened.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert 0 < milliseconds < 1000
