"""The work of one process, for each scheduler."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from pbkd.config.load import load_config, to_yaml
from pbkd.core.files import write_file
from pbkd.errors import WeightsError
from pbkd.execution.worker import work
from pbkd.models.weights import write_weights
from pbkd.pipeline.plan import plan_run
from pbkd.runs.assignment import Assignment, write_assignment
from tests.few_digits import few_digits

if TYPE_CHECKING:
    from pbkd.pipeline.plan import PlannedRun
    from pbkd.plugin.registry import Registry


# A relay and a cache need workers that run at the same time: see test_relay.
SCHEDULERS = ["greedy", "lpt-scheduler", "round-robin"]


def _lay_out(planned_run: PlannedRun, folder: Path) -> None:
    """Write what a host writes before it launches."""
    write_file(folder / "config.yaml", to_yaml(planned_run.config).encode())
    plan = planned_run.plan
    blocks = {planned.block.name: planned.block for planned in plan.trained}
    assignment = Assignment(
        "teacher-fed",
        "initial",
        plan.workers,
        plan.schedule,
        blocks,
        builders={planned.name: dict(planned.builder) for planned in plan.trained},
    )
    write_assignment(folder, assignment)
    for name, replacement in planned_run.replacements.items():
        write_weights(folder / "initial" / f"{name}.safetensors", replacement.state_dict())


@pytest.fixture(scope="module")
def alone(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of every block's weights from one worker."""
    return _trained(registry, tmp_path_factory.mktemp("alone"), "round-robin", 1)


def _trained(registry: Registry, folder: Path, scheduler: str, workers: int) -> dict[str, str]:
    torch.set_num_threads(1)
    overrides = [f"scheduler={scheduler}", f"workers={workers}", "threads=1", "distill.epochs=2"]
    overrides += [*few_digits(folder.parent), "data.crop=1"]
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


def test_a_damaged_initial_weight_is_an_error(registry: Registry, tmp_path: Path) -> None:
    planned_run = plan_run(load_config(["distill.epochs=1"]), registry)
    _lay_out(planned_run, tmp_path)
    path = tmp_path / "initial" / "conv2_1.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsError, match=r"conv2_1.safetensors"):
        work(tmp_path, 0)
