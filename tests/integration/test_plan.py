"""The plan of a run, before anything is trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pbkd.config.load import load_config
from pbkd.errors import ConfigError, UnknownNameError
from pbkd.pipeline.plan import plan_run
from pbkd.pipeline.run import run
from pbkd.planning.training_length import training_length

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry


def test_planning_trains_nothing_and_writes_nothing(
    quick: list[str], registry: Registry, tmp_path: Path
) -> None:
    planned_run = plan_run(load_config([*quick, "workers=3"]), registry)
    assert not (tmp_path / "runs").exists()
    assert len(planned_run.plan.workers) == 3
    assert [p.block.name for p in planned_run.plan.blocks] == [
        "conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2",
    ]  # fmt: skip
    assert planned_run.plan.workload.steps == 2 * (180 // 64)
    assert planned_run.plan.seconds > 0


def test_open_epochs_suit_images_and_student(registry: Registry) -> None:
    def epochs(*overrides: str) -> tuple[int | None, int | None]:
        config = plan_run(load_config(overrides), registry).config
        return config.distill.epochs, config.finetune.epochs

    length = training_length(1077, 1077 // 64, 5, 70_794)  # the student of the README
    assert epochs() == (length.teacher_fed, length.fine_tuning)
    views = epochs("views=2", "finetune.epochs=0")
    assert views == (round(length.teacher_fed / 2), 0)
    big = ["data=synthetic", "data.count=50000", "data.channels=1", "data.height=8", "data.width=8"]
    assert epochs(*big) == (2, 10)


def test_workers_auto_is_a_number_once_planned(
    quick: list[str], registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbkd.execution.workers._core_count", lambda: 2)
    planned_run = plan_run(load_config([*quick[:1], "workers=auto"]), registry)
    told = re.search(
        r"workers=auto \(with their start, 1: ([\d.]+) s, 2: ([\d.]+) s\)", planned_run.plan.why
    )
    assert told
    one, two = map(float, told.groups())
    assert planned_run.config.workers == len(planned_run.plan.workers) == (1 if one <= two else 2)


def test_segments_can_be_kept(quick: list[str], registry: Registry) -> None:
    config = load_config([*quick, "keep=[head*, conv1_*, conv2_*]"])
    assert [p.block.name for p in plan_run(config, registry).plan.blocks] == ["conv3_1", "conv3_2"]


def test_the_paper_form_needs_more_macs_for_the_first_convolution(
    quick: list[str], registry: Registry
) -> None:
    config = load_config([*quick, "builder=separable", "builder.form=paper", "builder.repeats=2"])
    first, *others = plan_run(config, registry).plan.blocks
    assert first.reason
    assert "more MACs" in first.reason
    assert first.cost is None
    assert all(planned.cost for planned in others)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["keep=['*']"], "nothing to replace"),
        (["builder=separable", "builder.rank=9"], "nothing to replace"),
        (
            ["distill.loss=attention-transfer", "distill.loss.features=[7]"],
            "conv2_2, conv3_1, conv3_2: the loss 'attention-transfer' looks inside, but the"
            " teacher's segment has no module '7'. Known: 0, 1, 2",
        ),
        (["distill.loss=mze"], "unknown loss 'mze'. Did you mean 'mse'"),
    ],
)
def test_mistakes_are_told_before_training(
    quick: list[str], registry: Registry, overrides: list[str], message: str
) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        run(load_config([*quick, *overrides]), registry)
