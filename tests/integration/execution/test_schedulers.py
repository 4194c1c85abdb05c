"""Every scheduler with every number of workers trains the same weights, fresh or resumed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from pbkd_local import LocalLauncher

from pbkd.config.load import load_config
from pbkd.core.blocks import BlockCost
from pbkd.core.files import write_file
from pbkd.core.schedule import Worker
from pbkd.execution.worker import work
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.runs.assignment import read_assignment, write_assignment
from pbkd.runs.folder import newest_run
from tests.soak.short_run import restored, tiny_settings

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry

    Train = Callable[..., dict[str, str]]

SCHEDULERS = ("cached", "greedy", "lpt-scheduler", "pipeline", "round-robin")


class Crash(BaseException):
    """What the test raises where a process would have been killed."""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that one worker began: some blocks have checkpoints of some epochs."""
    out = tmp_path_factory.mktemp("stopped")
    written = count()

    def write(path: Path, content: bytes) -> None:
        if next(written) == 7:
            raise Crash
        write_file(path, content)

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch, restored():
        patch.setattr("pbkd.training.checkpoint.write_file", write)
        with pytest.raises(Crash):
            config = load_config([*tiny_settings(out), "scheduler=round-robin"])
            run(config, build_registry(config.plugins))
    return newest_run(out)


@pytest.fixture(scope="module")
def train(stopped: Path, registry: Registry) -> Train:
    """A function that trains the blocks of the stopped run."""
    return partial(trained, stopped, registry)


def trained(
    stopped: Path, registry: Registry, place: Path, scheduler: str, workers: int, *, resumed: bool
) -> dict[str, str]:
    """Train blocks, from their checkpoints or anew; return digests of their weights."""
    folder = Path(shutil.copytree(stopped, place / f"{scheduler}-{workers}-{resumed}"))
    if not resumed:
        shutil.rmtree(folder / "checkpoints")
        shutil.rmtree(folder / "events")
    assignment = read_assignment(folder)
    group = tuple(Worker(rank) for rank in range(workers))
    # With one row per batch no block is shared by several workers, whose sums round otherwise.
    costs = [BlockCost(name, 0, 1, 1, rows=1) for name in assignment.blocks]
    schedule = registry.create("scheduler", {"name": scheduler}).schedule(costs, group)
    write_assignment(
        folder, replace(assignment, workers=group, schedule=schedule, cache="of-this-test")
    )
    LocalLauncher().launch(work, folder, group)
    files = (folder / "teacher-fed").glob("*.safetensors")
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def wanted(train: Train, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The weights of one worker that trains one block after the other."""
    torch.set_num_threads(1)
    weights = train(tmp_path_factory.mktemp("wanted"), "round-robin", 1, resumed=False)
    assert len(weights) == 4
    return weights


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_all_schedulers_train_the_same_weights(
    scheduler: str, workers: int, resumed: bool, train: Train, wanted: object, tmp_path: Path
) -> None:
    assert train(tmp_path, scheduler, workers, resumed=resumed) == wanted


def test_all_schedulers_are_tried(registry: Registry) -> None:
    assert set(SCHEDULERS) == set(registry.strategies["scheduler"])
