"""Whole runs whose workers fine-tune the student together: undisturbed, killed, resumed."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from pbkd.config.load import load_config
from pbkd.core.events import EpochDone, Event, JobStarted, Restarted
from pbkd.errors import WorkerError
from pbkd.models.weights import read_tensors
from pbkd.pipeline.run import run
from pbkd.runs.folder import newest_run
from tests.few_digits import few_digits

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from pbkd.plugin.registry import Registry

pytestmark = pytest.mark.slow

SETTINGS = [
    "keep=[stem*, head*, conv1*, conv2*, conv3_1]", "threads=1", "batch_size=10", "meters=[]",
    "scheduler=round-robin",
    "distill.epochs=1", "distill.student_fed_epochs=0", "finetune.epochs=3", "finetune.lr=0.0001",
]  # fmt: skip


@pytest.fixture
def _shared_however_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pbkd.pipeline.predict_phases.sharing_workers",
        lambda _work, workers, _modelled: {"fine-tuning": workers} if len(workers) > 1 else {},
    )


def settings(out: Path) -> list[str]:
    return [*SETTINGS, *few_digits(out.parent, training=300), "data.crop=1", f"out={out}"]


def trained(
    registry: Registry, out: Path, workers: int, emit: Callable[[Event], None] = lambda _: None
) -> dict[str, Tensor]:
    run(load_config([*settings(out), f"workers={workers}"]), registry, emit)
    return read_tensors(newest_run(out) / "student" / "model.safetensors")[0]


@pytest.mark.usefixtures("_shared_however_short")
def test_workers_fine_tune_the_student_of_one_although_one_is_killed(
    registry: Registry, tmp_path: Path
) -> None:
    events: list[Event] = []

    def kill_after_an_epoch(event: Event) -> None:
        events.append(event)
        is_tuned = isinstance(event, EpochDone) and event.phase == "fine-tuning"
        if is_tuned and not any(isinstance(each, Restarted) for each in events):
            multiprocessing.active_children()[0].kill()

    alone = trained(registry, tmp_path / "alone", 1)
    both = trained(registry, tmp_path / "both", 2)
    killed = trained(registry, tmp_path / "killed", 2, kill_after_an_epoch)
    assert all(torch.equal(both[name], tensor) for name, tensor in killed.items())
    for name, tensor in alone.items():
        # AdamW turns the rounding of a gradient near zero into a whole step.
        assert (both[name] - tensor).float().norm() <= 0.01 * tensor.float().norm(), name
    assert any(isinstance(event, Restarted) for event in events)
    tuned = [e for e in events if isinstance(e, EpochDone) and e.phase == "fine-tuning"]
    assert [event.epoch for event in tuned] == [1, 2, 3]
    jobs = [e for e in events if isinstance(e, JobStarted) and e.phase == "fine-tuning"]
    assert {(job.worker, job.images) for job in jobs} == {(0, 5), (1, 5)}


@pytest.mark.usefixtures("_shared_however_short")
def test_a_run_that_stops_in_fine_tuning_is_resumed_to_the_same_student(
    registry: Registry, tmp_path: Path
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, EpochDone) and event.phase == "fine-tuning" and event.epoch == 2:
            for process in multiprocessing.active_children():
                process.kill()

    stopped = [*settings(tmp_path / "stopped"), "workers=2", "launcher.restarts=0"]
    undisturbed = trained(registry, tmp_path / "undisturbed", 2)
    with pytest.raises(WorkerError):
        run(load_config(stopped), registry, stop)
    folder = newest_run(tmp_path / "stopped")
    assert list((folder / "checkpoints" / "fine-tuning").iterdir())
    run(load_config(stopped), registry, resume=folder)
    found = read_tensors(folder / "student" / "model.safetensors")[0]
    assert all(torch.equal(found[name], tensor) for name, tensor in undisturbed.items())
