from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pbkd.core.energy_results import DomainEnergy, EnergyResult, EnergySum, WorkerEnergy
from pbkd.report.card import all_notes, card
from pbkd.report.compare import total_joules
from pbkd.report.energy import energy_notes, energy_rows
from pbkd.report.run_files import write_report
from pbkd.report.run_page import run_page
from pbkd.runs.finished import read_finished
from tests.unit.report.pages import finished, record
from tests.unit.report.test_card import result


def domain(name: str, meter: str, **figures: Any) -> DomainEnergy:
    unknown = dict.fromkeys(
        ("device", "estimate", "idle_watts", "joules", "above_idle", "reason"), None
    )
    return DomainEnergy(name=name, meter=meter, **(unknown | figures))


ENERGY = EnergyResult(
    domains=(
        domain("gpu0", "nvml", device="cuda:0", idle_watts=25.0, joules=1500.0, above_idle=1000.5),
        domain("gpu1", "nvml", reason="GPU is lost"),
        domain("cpu-estimate", "estimate", device="cpu", estimate="CPU seconds x 15 W", joules=30),
    ),
    all_devices=EnergySum(("gpu0", "gpu1"), None, None, "gpu1: GPU is lost"),
    in_use=EnergySum(("gpu0",), 1500.0, 1000.5, None),
    workers=(
        WorkerEnergy(0, "cuda:0", {"teacher-fed": 700.0}, "student-fed, gpu0: it stood still"),
        WorkerEnergy(1, "cuda:1", None, "no sensor is known to measure cuda:1"),
        WorkerEnergy(2, "cuda:2", None, "no sensor is known to measure cuda:1"),
    ),
    idle_seconds=2.0,
)
NOTES = [
    "'cpu-estimate' is an estimate, not a measurement: CPU seconds x 15 W.",
    "Energy of gpu1: GPU is lost.",
    "Energy of worker 0: student-fed, gpu0: it stood still.",
    "Energy of worker 1, worker 2: no sensor is known to measure cuda:1.",
]


def test_every_figure_has_a_row_and_what_is_missing_says_so() -> None:
    assert energy_rows(ENERGY) == [
        ("gpu0", "cuda:0", "25.0", "1500.0", "1000.5"),
        ("gpu1", "not known", "not measured", "not measured", "not measured"),
        ("cpu-estimate (an estimate)", "cpu", "", "30.0", ""),
        ("all devices: gpu0 + gpu1", "", "", "not measured", "not measured"),
        ("devices in use: gpu0", "", "", "1500.0", "1000.5"),
        ("worker 0, teacher-fed", "cuda:0", "", "700.0", ""),
    ]
    assert energy_notes(ENERGY) == NOTES


def test_without_a_domain_there_is_no_table() -> None:
    nothing = EnergySum((), None, None, "no meter")
    empty = EnergyResult((), nothing, nothing, ENERGY.workers, None)
    assert energy_rows(None) == energy_rows(empty) == []
    assert energy_notes(None) == energy_notes(empty) == []
    assert "idle watts" not in card(result(energy=empty))


def test_card_and_page_show_it() -> None:
    whole = result(energy=ENERGY)
    text = card(whole)
    page = run_page(record(finished(whole)))
    assert "| devices in use: gpu0 |  |  | 1500.0 | 1000.5 |" in text
    assert "Idle power was measured for 2.0 s before the run" in text
    for row in energy_rows(ENERGY):
        assert row[0] in page
    for note in NOTES:
        assert f"- {note}\n" in text
        assert note.replace("'", "&#x27;") in page
        assert note in all_notes(whole)


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    whole = result(energy=ENERGY)
    write_report(whole, tmp_path)
    run = read_finished(tmp_path)
    assert run.result == whole
    assert total_joules(run) == {"gpu0": 1500.0, "cpu-estimate": 30}
    assert total_joules(replace(run, resumed=True)) == {}
