from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from pbkd.bench.result import BenchResult, ProcedureResult, Spread
from pbkd.cli import app
from pbkd.errors import BenchError

if TYPE_CHECKING:
    from pathlib import Path


def result(predicted: float) -> BenchResult:
    procedures = [
        ProcedureResult(
            name=name,
            seconds=Spread(1.0, 1.0, 1.0),
            cpu_seconds=1.0,
            peak_bytes=(1,),
            predicted_seconds=predicted,
            joules=None,
            joules_reason="no sensor",
        )
        for name in ("serial", "single-pass", "pipeline")
    ]
    return BenchResult(
        preset="digits",
        workers=2,
        threads=1,
        batch_size=64,
        command="pbkd bench digits",
        procedures=tuple(procedures),
        speedups={},
        checkpoint_seconds=0.1,
        environment={"machine": "m"},
    )


@pytest.mark.parametrize("predicted", [1.1, 1.5])
def test_figures_that_contradict_each_other_are_written_and_then_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, predicted: float
) -> None:
    monkeypatch.setattr("pbkd.bench.host.run_benchmark", lambda *_: result(predicted))
    ran = CliRunner().invoke(app, ["bench", "digits", "--out", str(tmp_path)])
    (folder,) = (path for path in tmp_path.iterdir() if not path.is_symlink())
    assert (folder / "speedup.svg").is_file()
    written = json.loads((folder / "digits" / "result.json").read_text())
    assert written["procedures"][0]["predicted_seconds"] == predicted
    if predicted == 1.1:
        assert ran.exit_code == 0
    else:
        assert isinstance(ran.exception, BenchError)
        assert "serial 1.500 predicted, 1.000 measured" in str(ran.exception)
    assert "single-pass" in ran.output
