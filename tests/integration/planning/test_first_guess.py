"""Of all sizes of all builders, a target trains the few that are likely to be chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from pbkd_low_rank import LowRankBuilder
from pbkd_zoo.resnet import resnet32

import pbkd
from pbkd.config.load import load_config
from pbkd.config.yaml_files import read_yaml
from pbkd.core.events import BlockScored
from pbkd.models.metrics import macs
from pbkd.models.weights import write_weights
from pbkd.pipeline.plan import plan_run
from pbkd.pipeline.run import run
from pbkd.runs.folder import newest_run

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.core.events import Event
    from pbkd.plugin.registry import Registry


def test_of_a_limit_alone_few_of_all_sizes_are_tried(registry: Registry) -> None:
    limited = ["threads=1", "target.macs=0.75", "keep=[stem*, head*, conv1*, conv2*]"]
    planned = plan_run(load_config(limited), registry)
    blocks = [p.block.name for p in planned.plan.trained]
    assert len(set(blocks)) < len(blocks) <= 3 * len(set(blocks))
    told = f"Of {2 * 14} candidates that fit, {len(blocks)} are trained"
    assert told in planned.notes[0]
    before = macs(planned.task.teacher.network, (1, 8, 8))
    saved = [
        p.macs_before - p.macs_after for p in planned.plan.trained if p.name in planned.expected
    ]
    assert 0.65 < 1 - sum(saved) / before <= 0.75
    again = plan_run(
        load_config(limited),
        registry,
        recorded={p.name: dict(p.builder) for p in planned.plan.trained},
    )
    assert [(p.name, p.builder) for p in again.plan.blocks] == [
        (p.name, p.builder) for p in planned.plan.blocks
    ]


def test_candidates_that_the_user_names_are_all_trained(registry: Registry) -> None:
    sizes = ", ".join(
        f"{{name: low-rank, share: {size['share']}}}" for size in LowRankBuilder.sizes
    )
    limited = ["threads=1", "target.macs=0.4", "keep=[stem*, head*, conv1*]"]
    planned = plan_run(load_config([*limited, f"candidates=[{sizes}]"]), registry)
    shares = {p.builder.get("share") for p in planned.plan.trained}
    assert shares == {None, *(size["share"] for size in LowRankBuilder.sizes)}
    chosen = {p.builder.get("share") for p in planned.plan.trained if p.name in planned.expected}
    assert len(chosen) > 1
    assert len(planned.plan.trained) == len({p.block.name for p in planned.plan.trained}) * (
        1 + len(LowRankBuilder.sizes)
    )


DEEP = [
    "teacher=resnet32", "teacher.in_channels=1", "teacher.width=4", "teacher.weights=random",
    "teacher.mean=[0.5]", "teacher.std=[0.5]", "threads=1", "target.macs=0.5",
]  # fmt: skip


def test_a_resnet_of_long_stages_may_lose_blocks_of_them(registry: Registry) -> None:
    planned = plan_run(load_config(DEEP), registry)
    assert planned.config.partitioner == {"name": "auto", "granularity": "stage"}
    assert {p.block.name for p in planned.plan.trained} == {"layer1", "layer2", "layer3"}
    shallow = [p.builder for p in planned.plan.trained if p.builder["name"] == "shallow"]
    assert shallow
    assert all(choice["left_out"] for choice in shallow)


@pytest.mark.parametrize("named", ["builder=low-rank", "keep=[layer1_*]", "target.macs=null"])
def test_it_keeps_its_blocks_where_builder_or_blocks_are_named(
    registry: Registry, named: str
) -> None:
    planned = plan_run(load_config([*DEEP, named]), registry)
    assert planned.config.partitioner == {"name": "auto"}
    assert "layer2_0" in {p.block.name for p in planned.plan.trained}


@pytest.mark.slow
def test_a_student_of_stages_is_trained_resumed_and_loaded(
    registry: Registry, tmp_path: Path
) -> None:
    short = ["distill.epochs=1", "finetune.epochs=1", "allow_chance=true", "target.block_drop=100"]
    weights = tmp_path / "weights.safetensors"
    write_weights(weights, resnet32(in_channels=1, width=4).state_dict())
    own = [f"teacher.weights={weights}", "workers=1", "meters=[]", f"out={tmp_path / 'runs'}"]
    config = load_config([*DEEP, *short, *own])
    with pytest.raises(KeyboardInterrupt):
        run(config, registry, interrupt)
    folder = newest_run(tmp_path / "runs")
    assert read_yaml(folder / "config.yaml")["partitioner"]["granularity"] == "stage"
    result = run(config, registry, resume=folder)
    assert all(block.name.startswith("layer") and "_" not in block.name for block in result.blocks)
    network = pbkd.load(folder)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def interrupt(event: Event) -> None:
    if isinstance(event, BlockScored):
        raise KeyboardInterrupt


@pytest.mark.parametrize("override", ["builder.share=0.3", "target.macs=null", "candidates=[]"])
def test_a_builder_with_options_or_no_limit_is_alone(registry: Registry, override: str) -> None:
    planned = plan_run(load_config(["threads=1", "target.macs=0.5", override]), registry)
    assert len(planned.plan.trained) == len({p.block.name for p in planned.plan.trained})
