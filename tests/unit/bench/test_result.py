from __future__ import annotations

from typing import Any

import pytest

from pbkd.bench.gather import gather
from pbkd.bench.presets import PRESETS
from pbkd.bench.report import plot, rows
from pbkd.bench.result import BenchResult, Spread

NAMES = ("serial", "paper", "single-pass", "pipeline", "cache", "serial-plain")


def event(name: str, round_: int, rank: int, seconds: float, **facts: Any) -> dict[str, Any]:
    told = {"kind": "procedure", "name": name, "round": round_, "rank": rank, "seconds": seconds}
    defaults: dict[str, Any] = {"steps": 2, "cpu_seconds": seconds, "peak_bytes": 1000 * (rank + 1)}
    defaults["busy_seconds"] = facts.get("cpu_seconds", seconds)
    unmeasured: dict[str, Any] = {
        "joules": None,
        "joules_reason": "no sensor",
        "devices": {},
        "lost": [],
    }
    return {**told, **defaults, **unmeasured, "device": f"cuda:{rank}", **facts}


EVENTS = [
    *(event("serial", r, 0, s) for r, s in enumerate([20.0, 24.0, 22.0])),
    *(event("serial", r, 1, 20.0, cpu_seconds=0.0) for r in range(3)),
    *(event("paper", r, rank, 11.0) for r in range(3) for rank in range(2)),
    *(event("single-pass", r, 0, 6.0) for r in range(3)),
    *(event("pipeline", r, rank, s) for r, s in enumerate([4.0, 3.0, 2.0]) for rank in range(2)),
    *(event("cache", r, 0, 1.0, joules={"gpu0": 5.0 + r}) for r in range(3)),
    event("serial-plain", 0, 0, 40.0),
]


def gathered() -> BenchResult:
    procedures, speedups = gather(EVENTS, batch_size=100, predicted={"serial": 11.0})
    return BenchResult(
        preset="p",
        workers=2,
        threads=1,
        batch_size=100,
        command="pbkd bench p",
        procedures=procedures,
        speedups=speedups,
        checkpoint_seconds=0.1,
        environment={"machine": "m"},
    )


def test_seconds_are_for_a_thousand_images() -> None:
    by_name = {p.name: p for p in gathered().procedures}
    assert by_name["serial"].seconds == Spread(100.0, 110.0, 120.0)
    assert by_name["serial"].predicted_seconds == 110.0
    assert by_name["pipeline"].predicted_seconds is None
    assert by_name["paper"].cpu_seconds == pytest.approx(110.0)


def test_a_worker_that_only_waited_has_no_peak() -> None:
    by_name = {p.name: p for p in gathered().procedures}
    assert by_name["serial"].peak_bytes == (1000,)
    assert by_name["pipeline"].peak_bytes == (1000, 2000)


def test_speedups_are_taken_round_by_round() -> None:
    speedups = gathered().speedups
    assert speedups["pipeline / serial"] == Spread(5.0, 8.0, 11.0)
    assert speedups["pipeline / serial-plain"] == Spread(10.0, 40 / 3, 20.0)


def test_joules_that_were_not_measured_are_none_with_the_reason() -> None:
    by_name = {p.name: p for p in gathered().procedures}
    assert (by_name["serial"].joules, by_name["serial"].joules_reason) == (None, "no sensor")
    assert by_name["cache"].joules == {"gpu0": 30.0}


def test_a_domain_that_is_lost_in_every_round_is_named() -> None:
    told = [
        event("serial", 0, 0, 1.0, joules={"gpu0": 1.0, "gpu1": 2.0}, joules_reason=None),
        event("serial", 1, 0, 1.0, joules={"gpu0": 2.0}, joules_reason="x gpu1: gone",
              lost=["gpu1", "gpu2"], devices={"gpu0": "cuda:0"}),
    ]  # fmt: skip
    serial = gather([*told, *EVENTS[3:]], batch_size=100, predicted={})[0][0]
    assert serial.joules == {"gpu0": 7.5, "gpu1": 10.0}
    assert serial.lost == ("gpu2",)
    assert serial.joules_reason == "x gpu1: gone"
    assert serial.devices == {"gpu0": "cuda:0"}
    assert serial.in_use == ("cpu", "cuda:0")


def test_the_table_has_a_row_for_each_procedure() -> None:
    table = rows(gathered())
    assert [row[0] for row in table] == list(NAMES)
    serial, pipeline = table[0], table[3]
    assert serial[1:5] == ("110.000", "100.000 to 120.000", "1.00", "110.00")
    assert serial[-2:] == ("110.000", "+0 %")
    assert pipeline[-2:] == ("none", "")


def test_the_plot_has_a_bar_for_each_procedure() -> None:
    svg = plot([gathered()])
    assert svg.count("<rect") == len(NAMES)
    assert "7.33x" in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_presets_are_the_papers_sizes() -> None:
    assert PRESETS["vgg16-cifar"].image_shape == (3, 32, 32)
    assert PRESETS["resnet50-cifar"].image_shape == (3, 64, 64)
    assert PRESETS["resnet56-cifar"].image_shape == (3, 32, 32)
