"""Runs with losses that look inside blocks, or between samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pbkd.config.load import load_config
from pbkd.pipeline.run import run

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry


@pytest.mark.parametrize(
    "loss",
    [
        ["attention-transfer", "features=[0]"],
        pytest.param(["relational", "angle=1"], marks=pytest.mark.slow),
    ],
    ids=lambda loss: loss[0],
)
def test_every_block_is_trained_by_the_loss(
    quick: list[str], registry: Registry, loss: list[str]
) -> None:
    name, option = loss
    options = [f"distill.loss={name}", f"distill.loss.{option}"]
    config = load_config([*quick, "distill.epochs=1", "finetune.epochs=0", *options])
    result = run(config, registry)
    trained = [block for block in result.blocks if block.teacher_fed_losses]
    assert len(trained) == 6
    for block in trained:
        assert block.first_failure is None
        assert all(0 < loss < 9 for loss in block.teacher_fed_losses)
