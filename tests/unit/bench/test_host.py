from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pbkd_squared_error import RelativeSquaredError
from torch import nn

from pbkd.bench.host import BenchSettings, run_benchmark
from pbkd.bench.procedures import run_jobs
from pbkd.bench.rig import Rig
from pbkd.core.schedule import Job, Schedule
from pbkd.errors import ConfigError, UnknownNameError
from tests.optimisations import optimisation

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.plugin.registry import Registry


def test_an_unknown_meter_is_told_before_anything_runs(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'nvml'"):
        run_benchmark(registry, "digits", tmp_path, BenchSettings(2, 1, 1, ("nvlm",)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("preset", "workers", "message"),
    [("vgg", 2, "unknown preset 'vgg'"), ("digits", 0, "at least 1 worker")],
)
def test_what_cannot_be_measured_is_told(
    registry: Registry, tmp_path: Path, preset: str, workers: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run_benchmark(registry, preset, tmp_path, BenchSettings(workers, 1, 1))


def test_a_shared_job_is_claimed_only_when_the_last_one_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs = tuple(Job((name,)) for name in "abc")
    schedule = Schedule(((), ()), jobs)
    rig = Rig(
        chain=nn.Sequential(),
        replacements={},
        blocks={},
        images=[],
        loss=RelativeSquaredError(),
        optimisation=optimisation(0.001),
        rank=0,
    )
    order: list[str] = []
    tickets = iter([0, 2, 3])

    def ticket() -> int:
        order.append("claim")
        return next(tickets)

    monkeypatch.setattr(rig, "train", lambda names, _lessons: order.append(*names))
    monkeypatch.setattr("pbkd.execution.job_queue._shared_counter", lambda _name: ticket)
    run_jobs(rig, schedule, 1, "jobs")
    assert order == ["claim", "a", "claim", "c", "claim"]
