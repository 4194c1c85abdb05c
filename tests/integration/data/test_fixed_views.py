"""Fixed views of the images, in whole runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from pbkd.config.load import load_config
from pbkd.models.weights import read_weights
from pbkd.pipeline.run import run
from pbkd.planning.scheduler_choice import cache_obstacle
from pbkd.training.task import build_task

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.plugin.registry import Registry


@pytest.mark.slow
def test_every_feed_sees_the_same_views(
    registry: Registry, tmp_path: Path, quick: list[str]
) -> None:
    settings = [*quick, "views=2", "cache_gigabytes=1", "distill.student_fed_epochs=0"]
    settings += ["finetune.epochs=0"]
    task = build_task(load_config(settings), registry, "cpu")
    assert len(task.training.train) == 2 * len(task.data.train)
    assert task.data.augmentation != task.training.augmentation  # fine-tuning draws anew
    assert cache_obstacle(1.0, task, [], []) is None
    folders = [
        run(load_config([*settings, f"scheduler={name}"]), registry).folder
        for name in ("round-robin", "greedy", "cached")
    ]
    one, *others = (
        read_weights(path)
        for folder in folders
        for path in [tmp_path / "runs" / folder / "teacher-fed" / "conv2_1.safetensors"]
    )
    for other in others:
        assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())
