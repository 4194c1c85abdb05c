"""Of all sizes of all builders, a target trains the few that are likely to be chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pbkd_low_rank import LowRankBuilder

from pbkd.config.load import load_config
from pbkd.models.metrics import macs
from pbkd.pipeline.plan import plan_run

if TYPE_CHECKING:
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


@pytest.mark.parametrize("override", ["builder.share=0.3", "target.macs=null", "candidates=[]"])
def test_a_builder_with_options_or_no_limit_is_alone(registry: Registry, override: str) -> None:
    planned = plan_run(load_config(["threads=1", "target.macs=0.5", override]), registry)
    assert len(planned.plan.trained) == len({p.block.name for p in planned.plan.trained})
