from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pbkd.core.curves import READY, STUDENT, TEACHER, CurvePoint, CurveResult, mark_dominated
from pbkd.core.results import Latency, NetworkResult, PhaseResult
from pbkd.core.scores import PairedChange
from pbkd.errors import RunFolderError
from pbkd.report.curve_page import curve_page
from pbkd.report.curve_table import curve_csv, curve_notes, curve_table
from pbkd.runs.curves import pick_point, point_folder, read_curve, run_of, write_curve
from tests.unit.report.pages import section


def point(
    name: str, kind: str, accuracy: float, macs: int, ms: float, **more: object
) -> CurvePoint:
    network = NetworkResult(
        name=name,
        accuracy=accuracy,
        parameters=macs // 10,
        macs=macs,
        latencies=(Latency(ms / 1000, ms / 900, 64, 5),),
        weight_bytes=macs // 2,
        interval=(accuracy - 0.01, accuracy + 0.01),
    )
    return CurvePoint(name=name, kind=kind, network=network, **more)  # type: ignore[arg-type]


LOST = PairedChange.of(both_correct=900, lost=20, gained=10, both_wrong=70)
POINTS = mark_dominated(
    [
        point("vgg", TEACHER, 0.92, 1000, 8.0),
        point("0.5", STUDENT, 0.90, 500, 5.0, change=LOST, joules={"gpu0": 12.0}),
        point("0.35", STUDENT, 0.91, 350, 5.1, joules_reason="gpu0 was lost"),
        point("0.2", STUDENT, 0.89, 200, 2.0),
        point("resnet", READY, 0.88, 400, 3.0),
    ]
)
CURVE = CurveResult(
    folder="runs/a",
    command="pbkd curve",
    points=POINTS,
    score_name="accuracy",
    test_images=1000,
    phases=(PhaseResult("fine-tuning", 2.0, 1.0, None, None),),
    notes=("a remark",),
)


def test_a_point_is_dominated_by_one_that_is_better_and_nowhere_worse() -> None:
    """0.35 is 2 % slower than 0.5, which a second measurement might be too."""
    assert {p.name: p.dominated_by for p in POINTS if p.dominated_by} == {
        "0.5": "0.35", "resnet": "0.2"
    }  # fmt: skip
    slower = point("0.35", STUDENT, 0.91, 350, 5.5)
    assert mark_dominated([POINTS[1], slower])[0].dominated_by is None


def test_the_table_has_intervals_and_what_was_not_measured() -> None:
    heads, rows = curve_table(CURVE)
    cells = [dict(zip(heads, row, strict=True)) for row in rows]
    assert cells[1]["accuracy"].startswith("90.00 % (88.0 to 91.7)")
    assert cells[1]["change in points"].startswith("-1.00 (")
    assert [row["joules, gpu0"] for row in cells] == [
        "", "12.0", "not measured", "not measured", ""
    ]  # fmt: skip
    assert cells[1][""] == "dominated by 0.35"
    assert cells[4]["point"] == "resnet (ready)"
    assert {"gpu0 was lost", "a remark"} < {*curve_notes(CURVE)}


def test_csv_is_empty_where_nothing_was_measured() -> None:
    heads, *lines = (line.split(",") for line in curve_csv(CURVE).splitlines())
    rows = [dict(zip(heads, line, strict=True)) for line in lines]
    assert (rows[1]["joules_gpu0"], rows[2]["joules_gpu0"]) == ("12.0", "")
    assert (rows[1]["ms_batch_64"], rows[0]["points_lost"]) == ("5.0", "")


def test_the_page_plots_every_network_with_its_interval_against_each_cost() -> None:
    plots = section(curve_page(CURVE), "plots").find("figure")
    captions = [plot.find("figcaption")[0].text for plot in plots]
    costs = ["MACs of an image", "ms for a batch of 64", "bytes of weights"]
    assert captions[:3] == [f"accuracy against {cost}" for cost in costs]
    assert captions[3] == "accuracy against joules of the phases, gpu0"
    assert [len(plot.find("path", "whisker")) for plot in plots] == [5, 5, 5, 1]
    dots = [circle.attributes["class"] for circle in plots[0].find("circle")]
    assert sorted(dots, key=str) == ["dot", "dot", "dot", "dot k1", "dot teacher"]


def test_a_curve_survives_its_file_and_stands_for_the_picked_point(tmp_path: Path) -> None:
    write_curve(tmp_path, CURVE)
    assert read_curve(tmp_path) == CURVE
    with pytest.raises(RunFolderError, match=r"pick a point by .*, of 0\.5, 0\.35, 0\.2"):
        run_of(tmp_path)
    with pytest.raises(RunFolderError, match="has no point vgg: its points are"):
        pick_point(tmp_path, "vgg")
    assert pick_point(tmp_path, "0.350") == point_folder(tmp_path, "0.35") == run_of(tmp_path)
    elsewhere = replace(CURVE, points=(*POINTS, point("../../other", STUDENT, 0.5, 1, 1.0)))
    write_curve(tmp_path, elsewhere)
    with pytest.raises(RunFolderError, match="is not a curve of this version"):
        run_of(tmp_path)
    text = (tmp_path / "curve.json").read_text()
    (tmp_path / "curve.json").write_text(text.replace("0.91", "0.99"))
    with pytest.raises(RunFolderError, match=r"curve\.json"):
        read_curve(tmp_path)
