from __future__ import annotations

import pytest

from pbkd.core.events import BlockTrained
from pbkd.core.schedule import Job
from pbkd.pipeline.distill_blocks import _retry_jobs
from pbkd.training.failures import OUT_OF_MEMORY, describe_divergence


def failed(block: str, failure: str) -> BlockTrained:
    return BlockTrained(
        worker=0,
        phase="teacher-fed",
        block=block,
        job_seconds=1.0,
        losses=(),
        failure=failure,
        checksum=None,
    )


@pytest.mark.parametrize(
    ("workers", "jobs"),
    [(1, [("a", "d"), ("b",), ("c",)]), (2, [("a",), ("b",), ("c",), ("d",)])],
)
def test_blocks_that_diverged_share_the_passes_of_a_single_worker(
    workers: int, jobs: list[tuple[str, ...]]
) -> None:
    diverged = describe_divergence("its loss is nan after 4 steps")
    reasons = {"a": diverged, "a.1": diverged, "b": OUT_OF_MEMORY, "c": "raised", "d": diverged}
    events = {name: failed(name, reason) for name, reason in reasons.items()}
    assert _retry_jobs("abcd", events, workers) == tuple(map(Job, jobs))
    assert _retry_jobs("b", {"b": events["b"]}, workers) == (Job(("b",)),)
