from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from pbkd.core.schedule import Job, Schedule
from pbkd.execution.job_queue import claim_jobs
from pbkd.execution.store import private_store

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@pytest.fixture
def _stored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with private_store() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield


SHARED = Schedule(((), ()), tuple(Job((str(index),)) for index in range(4)))


@pytest.mark.usefixtures("_stored")
def test_machines_that_counted_other_restarts_claim_from_one_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """torchrun does not count a restart because a machine joined or left."""
    monkeypatch.setenv("PBKD_LAUNCH_ID", "the second")
    first, second = claim_jobs(SHARED, 0, "jobs"), claim_jobs(SHARED, 1, "jobs")
    taken = [next(first)]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert [*taken, next(second), *first, *second] == list(SHARED.shared)


@pytest.mark.usefixtures("_stored")
def test_a_process_that_is_restarted_alone_claims_its_jobs_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PBKD_LAUNCH_ID", raising=False)
    for count in "01":
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", count)
        assert list(claim_jobs(SHARED, 0, "jobs")) == list(SHARED.shared)
