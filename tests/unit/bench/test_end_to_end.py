from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from pbkd.bench.end_to_end import ALONE, PAPER, TOGETHER, EndToEnd, WholeRunTimes
from pbkd.bench.end_to_end_report import check_whole_predictions, phase_rows, write_end_to_end
from pbkd.bench.run_checks import PhaseSteps, check_phase_steps, check_students
from pbkd.config.load import load_config
from pbkd.core.events import PhaseStarted
from pbkd.errors import BenchError
from pbkd.models.weights import write_weights


def times(scale: float, predicted: float = 1.0) -> WholeRunTimes:
    phases = {
        "planning": [2.0, 2.0, 2.0],
        "teacher-fed": [10.0 * scale, 12.0 * scale, 11.0 * scale],
        "scoring": [1.0, 1.0, 1.0],
        "student-fed": [5.0 * scale] * 3,
        "fine-tuning": [20.0 * scale] * 3,
    }
    planned = {name: [predicted * s for s in each] for name, each in phases.items()}
    del planned["planning"]
    shared = ("teacher-fed", "student-fed", "fine-tuning")
    return WholeRunTimes(phases, planned, [shared, shared, shared])


RESULT = EndToEnd(
    preset="digits",
    rounds=3,
    command="pbkd bench end-to-end digits",
    environment={},
    procedures={PAPER: times(2.0), ALONE: times(1.0), TOGETHER: times(0.5)},
)


def test_ratios_are_medians_over_the_rounds_beside_amdahls_law(tmp_path: Path) -> None:
    assert RESULT.ratio(ALONE, TOGETHER, "teacher-fed").median == 2
    whole = RESULT.ratio(ALONE, TOGETHER)
    assert whole.median == (2 + 11 + 1 + 5 + 20) / (2 + 5.5 + 1 + 2.5 + 10)
    assert RESULT.parallel_share == pytest.approx(36 / 39)
    assert RESULT.expected_speedup == pytest.approx(whole.median)  # all is as the law says
    scored = replace(times(0.5), shared=[("teacher-fed", "scoring")] * 3)
    more = replace(RESULT, procedures={**RESULT.procedures, TOGETHER: scored})
    assert more.parallel_share == pytest.approx(12 / 39)
    assert phase_rows(RESULT)[-1][:4] == ("whole run", "75.00", "39.00", "21.00")
    write_end_to_end(RESULT, tmp_path)
    assert (tmp_path / "phases.csv").read_text().startswith("phase,paper,1 worker,2 workers,")


@pytest.mark.parametrize(("predicted", "wrong"), [(1.2, False), (0.7, True), (1.3, True)])
def test_a_prediction_off_by_more_than_a_quarter_is_refused(predicted: float, wrong: bool) -> None:
    procedures = {**RESULT.procedures, ALONE: times(1.0, predicted)}
    result = replace(RESULT, procedures=procedures)
    if not wrong:
        check_whole_predictions(result)
        return
    with pytest.raises(BenchError, match="measured seconds of 1 worker differ by more than 25%"):
        check_whole_predictions(result)


def test_every_optimiser_step_is_counted_by_its_phase() -> None:
    layer = nn.Linear(1, 1)
    optimisers = [torch.optim.AdamW(layer.parameters()), torch.optim.SGD(layer.parameters(), 0.1)]
    layer(torch.ones(1, 1)).sum().backward()
    steps = PhaseSteps()
    with steps.counting():
        for phase, count in (("planning", 3), ("teacher-fed", 4), ("fine-tuning", 2)):
            steps.see(PhaseStarted(phase=phase))
            for step in range(count):
                optimisers[step % 2].step()
    optimisers[0].step()
    assert steps.counts == {"planning": 3, "teacher-fed": 4, "fine-tuning": 2}
    config = load_config(["distill.epochs=2", "distill.student_fed_epochs=0", "finetune.epochs=2"])
    check_phase_steps("paper", config, steps.counts, blocks=2, steps=1)
    with pytest.raises(BenchError, match="took 4 optimiser steps in the teacher-fed phase instead"):
        check_phase_steps("paper", config, steps.counts, blocks=3, steps=1)


def test_students_that_differ_by_more_than_rounding_are_refused(tmp_path: Path) -> None:
    for run, weight in (("one", 1.0), ("near", 1.01), ("far", 1.2)):
        for name in ("teacher-fed/a.safetensors", "student/model.safetensors"):
            write_weights(tmp_path / run / name, {"w": torch.tensor([2.0, weight])})
    check_students(tmp_path / "one", tmp_path / "near")
    with pytest.raises(BenchError, match="has other weights than"):
        check_students(tmp_path / "one", tmp_path / "far")
