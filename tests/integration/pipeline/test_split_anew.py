from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pbkd.config.load import load_config
from pbkd.core.events import CostsChecked, JobStarted, PlanMade
from pbkd.core.schedule import Worker
from pbkd.models.weights import read_weights
from pbkd.pipeline.run import run
from pbkd.planning.profiling import ChainCosts, measure_costs
from pbkd.plugin.registry import Registry
from pbkd.runs.events import read_events

WRONG, FACTOR = "conv1_2", 60


def wrong_costs(*arguments: Any, **named: Any) -> ChainCosts:
    """Measure costs, and multiply the training of one block."""
    costs = measure_costs(*arguments, **named)
    blocks = [
        replace(cost, train_seconds=FACTOR * cost.train_seconds) if cost.name == WRONG else cost
        for cost in costs.blocks
    ]
    return replace(costs, blocks=blocks)


def in_turn(
    _self: object, work: Callable[[Path, int], None], folder: Path, workers: Sequence[Worker]
) -> None:
    for rank in range(len(workers)):
        work(folder, rank)


def distilled(
    registry: Registry, out: Path, workers: int, scheduler: str = "greedy"
) -> tuple[Path, tuple[str, ...]]:
    overrides = [
        "keep=[stem*, head*, conv2_2, conv3*]", f"workers={workers}", "threads=1",
        f"scheduler={scheduler}", "distill.epochs=8", "distill.student_fed_epochs=0",
        "finetune.epochs=0", "recalibrate_batches=0", "cache_gigabytes=0", "meters=[]",
        f"out={out}",
    ]  # fmt: skip
    result = run(load_config(overrides), registry)
    return Path(result.folder), result.notes


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbkd.pipeline.plan_workers.measure_costs", wrong_costs)
    monkeypatch.setattr("pbkd.pipeline.cost_watch.START_SECONDS", -1000.0)  # a change costs nothing
    monkeypatch.setattr("pbkd.pipeline.cost_watch.TOLERANCE", 0.9)  # other programs are no reason
    monkeypatch.setattr("pbkd.runs.events._POLL_SECONDS", 0.002)


@pytest.mark.usefixtures("wrong")
def test_wrong_costs_are_found_and_the_students_bits_stay(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    # What other programs take is no time, so that no other block is further off.
    monkeypatch.setattr("time.perf_counter", time.process_time)
    alone, notes = distilled(registry, tmp_path / "alone", 1)
    assert not any("first steps" in note for note in notes)
    monkeypatch.setattr("pbkd_local.LocalLauncher.launch", in_turn)
    together, notes = distilled(registry, tmp_path / "together", 2)
    events = read_events(together)
    first, *_ = (event for event in events if isinstance(event, CostsChecked))
    assert first.split_anew
    assert first.block == WRONG
    assert first.off == pytest.approx(1 / FACTOR - 1, abs=0.05)
    assert first.text in notes
    assert "were split anew at the epoch's end" in first.text
    plans = [event.lanes for event in events if isinstance(event, PlanMade)]
    assert len(plans) > 1
    begun = [event.begun for event in events if isinstance(event, JobStarted)]
    assert 0 < max(begun) < 8  # the new jobs began from checkpoints
    assert_equal(alone, together)


def assert_equal(alone: Path, together: Path) -> None:
    for name in ("conv1_2", "conv2_1"):
        one, two = (
            read_weights(run / "teacher-fed" / f"{name}.safetensors") for run in (alone, together)
        )
        assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.slow
@pytest.mark.usefixtures("wrong")
@pytest.mark.parametrize(("scheduler", "factor"), [("pipeline", 1 / FACTOR), ("greedy", FACTOR)])
def test_workers_in_processes_end_together_and_begin_anew(
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheduler: str,
    factor: float,
) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(f"{__name__}.FACTOR", factor)
    alone, _ = distilled(registry, tmp_path / "alone", 1)
    together, _ = distilled(registry, tmp_path / "together", 2, scheduler)
    checks = [event for event in read_events(together) if isinstance(event, CostsChecked)]
    assert checks[0].split_anew
    assert_equal(alone, together)
