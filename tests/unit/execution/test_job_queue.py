from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pbkd.core.schedule import Job, Schedule
from pbkd.execution.job_queue import claim_jobs

if TYPE_CHECKING:
    import pytest


def test_a_worker_does_its_own_jobs_then_shared_ones() -> None:
    a, b, c, d = (Job((name,)) for name in "abcd")
    schedule = Schedule(((a,), (b,)), (c, d))
    assert list(claim_jobs(schedule, 0, "jobs")) == [a, c, d]
    assert list(claim_jobs(Schedule(((a,), (b,))), 1, "jobs")) == [b]


def test_a_shared_job_is_claimed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = itertools.count()
    monkeypatch.setattr("pbkd.execution.job_queue._shared_counter", lambda _name: counter.__next__)
    jobs = tuple(Job((str(index),)) for index in range(5))
    schedule = Schedule(((), ()), jobs)
    first, second = claim_jobs(schedule, 0, "jobs"), claim_jobs(schedule, 1, "jobs")
    taken = [next(first), next(second), next(second), next(first), *second, *first]
    assert taken == list(jobs)
