from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from pbkd.config.load import load_config, to_yaml
from pbkd.core.files import write_file
from pbkd.core.process import thread_count
from pbkd.core.schedule import Schedule, Worker
from pbkd.errors import WeightsError
from pbkd.execution.context import WorkerContext
from pbkd.execution.worker import epoch_batches, work
from pbkd.models.replacement import read_replacement
from pbkd.models.weights import write_weights
from pbkd.pipeline.plan import plan_run
from pbkd.runs.assignment import Assignment, write_assignment

if TYPE_CHECKING:
    from pbkd.pipeline.plan import PlannedRun
    from pbkd.plugin.registry import Registry
    from pbkd.training.task import DistillationTask

# A relay and a cache need workers that run at the same time: see test_relay.
SCHEDULERS = ["greedy", "lpt-scheduler", "round-robin"]


def _lay_out(planned_run: PlannedRun, folder: Path) -> None:
    """Write what a host writes before it launches."""
    write_file(folder / "config.yaml", to_yaml(planned_run.config).encode())
    plan = planned_run.plan
    blocks = {planned.block.name: planned.block for planned in plan.trained}
    write_assignment(
        folder, Assignment("teacher-fed", "initial", plan.workers, plan.schedule, blocks)
    )
    for name, replacement in planned_run.replacements.items():
        write_weights(folder / "initial" / f"{name}.safetensors", replacement.state_dict())


@pytest.fixture(scope="module")
def alone(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of every block's weights from one worker."""
    return _trained(registry, tmp_path_factory.mktemp("alone"), "round-robin", 1)


def _trained(registry: Registry, folder: Path, scheduler: str, workers: int) -> dict[str, str]:
    torch.set_num_threads(1)
    overrides = [f"scheduler={scheduler}", f"workers={workers}", "threads=1", "distill.epochs=2"]
    planned_run = plan_run(load_config(overrides), registry)
    _lay_out(planned_run, folder)
    for rank in range(workers):
        work(folder, rank)
    return {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "teacher-fed").iterdir()
    }


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_student_whatever_the_schedule(
    registry: Registry, alone: dict[str, str], tmp_path: Path, scheduler: str, workers: int
) -> None:
    assert len(alone) == 5
    assert _trained(registry, tmp_path, scheduler, workers) == alone


def test_batches_are_the_same_for_every_job(registry: Registry, digits: DistillationTask) -> None:
    def context(phase: str) -> WorkerContext:
        assignment = Assignment(phase, "initial", (Worker(0),), Schedule(((),)), {})
        config = load_config(["distill.epochs=2", "distill.student_fed_epochs=2"])
        builder = registry.create("builder", config.builder)
        loss = registry.find("loss", config.distill.loss)
        return WorkerContext(
            folder=Path(),
            rank=0,
            config=config,
            task=digits,
            builders=[builder],
            loss=loss,
            assignment=assignment,
        )

    first, second = (
        [batch for batches in epoch_batches(context("teacher-fed")) for batch in batches]
        for _ in range(2)
    )
    assert len(first) == 2 * (1077 // 64)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    other_phase = next(next(epoch_batches(context("student-fed"))))
    assert not torch.equal(first[0], other_phase)
    assert not torch.equal(first[0], first[1077 // 64])


def test_a_damaged_initial_weight_is_an_error(registry: Registry, tmp_path: Path) -> None:
    planned_run = plan_run(load_config(["distill.epochs=1"]), registry)
    _lay_out(planned_run, tmp_path)
    path = tmp_path / "initial" / "conv2_1.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsError, match=r"conv2_1.safetensors"):
        work(tmp_path, 0)


def test_a_replacement_is_filled_from_its_file(tmp_path: Path) -> None:
    wanted, other = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    write_weights(tmp_path / "block.safetensors", wanted.state_dict())
    assert torch.equal(read_replacement(tmp_path, other, "block").weight, wanted.weight)  # type: ignore[arg-type]


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with thread_count(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
