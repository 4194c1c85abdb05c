"""Whole runs whose workers fine-tune the student together: undisturbed, killed, resumed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

import pbkd
from pbkd.config.load import load_config
from pbkd.core.events import EpochDone, Event, JobStarted, Restarted
from pbkd.core.process import thread_count
from pbkd.data.batching import sequential_batches
from pbkd.errors import WorkerError
from pbkd.models.weights import read_tensors
from pbkd.pipeline.run import run
from pbkd.pipeline.student_tuning import _launch
from pbkd.runs.folder import newest_run
from tests.few_digits import few_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from torch import Tensor

    from pbkd.core.results import RunResult
    from pbkd.core.schedule import Worker
    from pbkd.pipeline.context import RunContext
    from pbkd.plugin.registry import Registry
    from pbkd.training.task import DistillationTask

pytestmark = pytest.mark.slow

SETTINGS = [
    "keep=[stem*, head*, conv2*, conv3*]", "threads=1", "batch_size=10", "meters=[]",
    "scheduler=round-robin", "builder=separable", "distill.epochs=1", "distill.lr=0.000001",
    "distill.student_fed_epochs=0", "finetune.epochs=12", "finetune.lr=0.001",
    # in rounds of three, three and perhaps six epochs
    "target.max_drop=0", "target.block_drop=100", "candidates=[]",
]  # fmt: skip


@pytest.fixture
def _shared_however_short(monkeypatch: pytest.MonkeyPatch) -> None:
    share_however_short(monkeypatch)


def share_however_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pbkd.pipeline.predict_phases.sharing_workers",
        lambda _work, workers, _modelled: {"fine-tuning": workers} if len(workers) > 1 else {},
    )


def settings(out: Path) -> list[str]:
    return [*SETTINGS, *few_digits(out.parent, training=300), "data.crop=1", f"out={out}"]


def assert_better_for_fine_tuning(result: RunResult) -> None:
    """Else the student stays as it was, and is the same whatever its workers did."""
    before, after = result.validation["recalibrated"], result.validation["fine-tuned"]
    assert before is not None
    assert after is not None
    assert after > before


def assert_alike(first: Tensor, second: Tensor) -> None:
    """Logits of a student of one worker and one of two.

    Weights are no measure: where a bias has no gradient (before BatchNorm), Adam's steps follow
    the rounding. Measured: 0.005 and 0.009; with batches of 5 in the place of 10, 0.10.
    """
    assert (first - second).norm() <= 0.03 * first.norm()


def trained(
    registry: Registry, out: Path, workers: int, emit: Callable[[Event], None] = lambda _: None
) -> dict[str, Tensor]:
    result = run(load_config([*settings(out), f"workers={workers}"]), registry, emit)
    assert_better_for_fine_tuning(result)
    return read_tensors(newest_run(out) / "student" / "model.safetensors")[0]


@pytest.fixture(scope="module")
def undisturbed(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The student of two workers."""
    with pytest.MonkeyPatch.context() as patch, thread_count(1):  # as in each test
        share_however_short(patch)
        return trained(registry, tmp_path_factory.mktemp("undisturbed") / "runs", 2)


@pytest.mark.usefixtures("_shared_however_short")
def test_workers_fine_tune_the_student_of_one_although_one_is_killed(
    digits: DistillationTask, registry: Registry, tmp_path: Path, undisturbed: dict[str, Tensor]
) -> None:
    events: list[Event] = []

    def kill_after_an_epoch(event: Event) -> None:
        events.append(event)
        tuned = isinstance(event, EpochDone) and event.phase == "fine-tuning" and event.epoch == 4
        if tuned and not any(isinstance(each, Restarted) for each in events):
            multiprocessing.active_children()[0].kill()

    trained(registry, tmp_path / "alone", 1)
    killed = trained(registry, tmp_path / "killed", 2, kill_after_an_epoch)
    assert all(torch.equal(undisturbed[name], tensor) for name, tensor in killed.items())
    images = digits.normalize(next(iter(sequential_batches(digits.data.test, 100)))[0])
    assert_alike(*(pbkd.load(newest_run(tmp_path / each))(images) for each in ("alone", "killed")))
    assert any(isinstance(event, Restarted) for event in events)
    tuned = [e for e in events if isinstance(e, EpochDone) and e.phase == "fine-tuning"]
    assert [event.epoch for event in tuned] in ([*range(1, 7)], [*range(1, 13)])
    jobs = [e for e in events if isinstance(e, JobStarted) and e.phase == "fine-tuning"]
    assert {(job.worker, job.images) for job in jobs} == {(0, 5), (1, 5)}


@pytest.mark.usefixtures("_shared_however_short")
def test_workers_fine_tune_in_bfloat16(registry: Registry, tmp_path: Path) -> None:
    overrides = [*settings(tmp_path / "run"), "workers=2", "autocast=bf16"]
    assert_better_for_fine_tuning(run(load_config(overrides), registry))


@pytest.mark.usefixtures("_shared_however_short")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_stops_in_fine_tuning_is_resumed_to_the_same_student(
    registry: Registry, tmp_path: Path, undisturbed: dict[str, Tensor], number: signal.Signals
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, EpochDone) and event.phase == "fine-tuning" and event.epoch == 4:
            for process in multiprocessing.active_children():
                assert process.pid is not None
                os.kill(process.pid, number)
            if number == signal.SIGINT:  # which a terminal sends to all processes
                signal.raise_signal(number)

    stopped = [*settings(tmp_path / "stopped"), "workers=2", "launcher.restarts=0"]
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else WorkerError):
        run(load_config(stopped), registry, stop)
    for process in multiprocessing.active_children():
        process.join(10)
    assert not multiprocessing.active_children()
    folder = newest_run(tmp_path / "stopped")
    assert list((folder / "checkpoints" / "fine-tuning").iterdir())
    run(load_config(stopped), registry, resume=folder)
    found = read_tensors(folder / "student" / "model.safetensors")[0]
    assert all(torch.equal(found[name], tensor) for name, tensor in undisturbed.items())


@pytest.mark.usefixtures("_shared_however_short")
def test_workers_fine_tune_with_a_network_and_images_that_a_program_has(
    digits: DistillationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launches: list[int] = []

    def launch(
        ctx: RunContext,
        accepted: Collection[str],
        workers: Sequence[Worker],
        epochs: tuple[int, int],
    ) -> None:
        launches.append(len(workers))
        _launch(ctx, accepted, workers, epochs)

    monkeypatch.setattr("pbkd.pipeline.student_tuning._launch", launch)
    images, labels = next(iter(sequential_batches(digits.data.train, 200)))
    pair = (digits.normalize(images).contiguous(), labels)
    logits = []
    for workers in (1, 2):
        result = pbkd.compress(
            digits.teacher.network, pair, workers=workers, out=str(tmp_path), quiet=True, meters=[],
            keep=["stem*", "head*", "conv2*", "conv3*"], threads=1, batch_size=10,
            builder="separable", distill={"epochs": 1, "lr": 1e-6, "student_fed_epochs": 0},
            finetune={"epochs": 1, "lr": 1e-3},
        )  # fmt: skip
        assert_better_for_fine_tuning(result)
        assert result.student.network is not None
        with torch.no_grad():
            logits.append(result.student.network.eval()(pair[0]))
    assert launches == [2]
    assert_alike(*logits)
