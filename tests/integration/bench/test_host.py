"""`pbkd bench` in whole, on two workers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch.distributed as dist

from pbkd.bench.host import BenchSettings, run_benchmark

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.plugin.registry import Registry


def test_every_procedure_is_measured_predicted_and_compared(
    registry: Registry, tmp_path: Path
) -> None:
    settings = BenchSettings(workers=2, threads=1, rounds=2, meters=("estimate",))
    result = run_benchmark(registry, "digits", tmp_path, settings)
    assert [p.name for p in result.procedures] == [
        "serial", "paper", "single-pass", "pipeline", "cache", "serial-plain",
    ]  # fmt: skip
    for procedure in result.procedures:
        assert 0 < procedure.seconds.least <= procedure.seconds.median <= procedure.seconds.most
        assert procedure.cpu_seconds > 0
        assert (procedure.predicted_seconds is None) == (procedure.name == "serial-plain")
        assert procedure.joules is None
    assert all(saving.share is None for saving in result.savings)
    assert all("without being asked" in (saving.reason or "") for saving in result.savings)
    workers = {p.name: len(p.peak_bytes) for p in result.procedures}
    assert workers["serial"] == workers["single-pass"] == 1
    assert workers["cache"] == 2
    # It leaves out five of six teacher passes, whatever the machine does besides.
    assert result.speedups["single-pass / serial"].most > 1
    events = [
        json.loads(line)
        for line in (tmp_path / "measurements/rank0.jsonl").read_text().split("\n")
        if line
    ]
    assert sum(event["kind"] == "procedure" for event in events) == 5 * 2 + 1


def test_one_worker_times_the_procedures_of_one(registry: Registry, tmp_path: Path) -> None:
    settings = BenchSettings(workers=1, rounds=1, batch_size=16)
    result = run_benchmark(registry, "digits", tmp_path, settings)
    assert [p.name for p in result.procedures] == ["serial", "single-pass", "serial-plain"]
    assert [*result.speedups] == ["single-pass / serial"]
    assert result.batch_size == 16
    assert not dist.is_initialized()
