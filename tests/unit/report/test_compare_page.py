from __future__ import annotations

from pbkd.report.compare_page import compare_page
from tests.unit.report.pages import (
    section,
    three_runs,
)


def test_a_comparison_has_a_row_for_each_run_and_a_plot_for_each_cost() -> None:
    text = compare_page(three_runs())
    (table,) = section(text, "table").find("table", "sortable")
    assert [row.find("td")[0].text for row in table.find("tr")[1:]] == ["a", "b", "c"]
    figures = section(text, "plots").find("figure")
    captions = [figure.find("figcaption")[0].text for figure in figures]
    costs = ["MACs of an image", "ms for a batch of 1", "ms for a batch of 64"]
    scores = ["accuracy", "agreement with the teacher"]
    assert captions == [
        f"{score} against {cost}"
        for score in scores
        for cost in [*costs, "joules of the whole run, gpu0"]
    ]
    macs = figures[0]
    assert [circle.attributes["class"] for circle in macs.find("circle")].count("dot") == 2
    assert "Not drawn: 3; its score is not accuracy." in macs.text
    assert len(macs.find("path", "front")[0].attributes["d"] or "") > 10
    assert "Not drawn: 3; joules not measured: rapl: no counters." in figures[-1].text
    assert figures[-1].find("svg") == []
    assert "c: pbkd run seed=1" in section(text, "notes").text


def test_the_line_joins_what_no_other_run_beats() -> None:
    from pbkd.report.pareto import Point, front

    points = [
        Point("dear", "", 9, 0.9),
        Point("beaten", "", 5, 0.7),
        Point("cheap", "", 1, 0.6),
        Point("middle", "", 4, 0.8),
        Point("teacher", "", 2, 1.0, teacher=True),
        Point("as good as dear", "", 10, 0.9),
    ]
    assert [point.mark for point in front(points)] == ["cheap", "middle", "dear"]
