from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pbkd.config.load import load_config
from pbkd.core.process import thread_count
from pbkd.core.schedule import Schedule, Worker
from pbkd.execution.context import WorkerContext
from pbkd.execution.worker import epoch_batches
from pbkd.models.replacement import read_replacement
from pbkd.models.weights import write_weights
from pbkd.runs.assignment import Assignment
from pbkd.training.optimisation import create_optimisation

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry
    from pbkd.training.task import DistillationTask


def test_batches_are_the_same_for_every_job(registry: Registry, digits: DistillationTask) -> None:
    def context(phase: str) -> WorkerContext:
        assignment = Assignment(phase, "initial", (Worker(0),), Schedule(((),)), {})
        config = load_config(["distill.epochs=2", "distill.student_fed_epochs=2"])
        loss = registry.create("loss", config.distill.loss)
        return WorkerContext(
            folder=Path(),
            rank=0,
            distill=config.distill,
            batch_size=config.batch_size,
            seed=config.seed,
            caches=Path(),
            task=digits,
            builders={},
            loss=loss,
            optimisation=create_optimisation(registry, config.distill),
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


def test_a_replacement_is_filled_from_its_file(tmp_path: Path) -> None:
    wanted, other = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    write_weights(tmp_path / "block.safetensors", wanted.state_dict())
    assert torch.equal(read_replacement(tmp_path, other, "block").weight, wanted.weight)  # type: ignore[arg-type]


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with thread_count(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
