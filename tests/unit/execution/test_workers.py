from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from pbkd.core.process import thread_count
from pbkd.core.schedule import Worker
from pbkd.execution.worker_request import WorkerRequest
from pbkd.execution.workers import (
    describe_shared_devices,
    divide_resources,
    local_workers,
    own_threads,
    possible_workers,
)

CORES = len(os.sched_getaffinity(0))


def test_workers_share_the_cores() -> None:
    workers = local_workers(CORES, None, "cpu")
    assert [worker.rank for worker in workers] == list(range(CORES))
    assert [worker.threads for worker in workers] == [1] * CORES


def test_more_workers_than_cores_get_one_thread_each() -> None:
    workers = local_workers(CORES + 3, None, "cpu")
    assert len(workers) == CORES + 3
    assert all(worker.threads == 1 for worker in workers)


def test_the_main_process_uses_no_more_threads_than_its_workers() -> None:
    with thread_count(4):
        assert [own_threads(count, 1) for count in (1, 2, 9)] == [1, 2, 4]
        assert own_threads(1, None) == own_threads("auto", 1) == 4


def test_threads_may_be_given() -> None:
    assert [w.threads for w in local_workers(2, 3, "cpu")] == [3, 3]


def test_workers_take_accelerators_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    devices = [worker.device for worker in local_workers(3, None, "cuda")]
    assert devices == ["cuda:0", "cuda:1", "cuda:0"]


def test_it_is_said_which_workers_share_a_gpu_and_how_they_exchange() -> None:
    (note,) = describe_shared_devices(
        [Worker(0, "cuda:0"), Worker(1, "cuda:1"), Worker(2, "cuda:0"), Worker(3, "cuda:0")]
    )
    assert note.startswith("Workers 0, 2 and 3 share cuda:0: they take turns on it")
    assert "through the CPU (gloo)" in note
    assert not describe_shared_devices([Worker(0), Worker(1)])
    elsewhere = [Worker(rank, "cuda:0", node="a") for rank in range(2)]
    assert not describe_shared_devices(elsewhere), "each may see another GPU by this name"


@pytest.mark.parametrize(
    ("devices", "device", "threads", "counts"),
    [(6, "cuda", None, [1, 2, 4, 6]), (0, "cpu", None, [1, 2, 4, 8, 12]), (0, "cpu", 5, [1, 2])],
)
def test_auto_tries_powers_of_two_up_to_what_there_is(
    monkeypatch: pytest.MonkeyPatch,
    devices: int,
    device: str,
    threads: int | None,
    counts: list[int],
) -> None:
    monkeypatch.setattr("pbkd.execution.workers._core_count", lambda: 12)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: devices)
    groups = possible_workers("auto", threads, device)
    assert [len(workers) for workers in groups] == counts
    if device == "cpu":
        assert all(len(workers) * workers[0].threads <= 12 for workers in groups)


def test_a_given_number_is_not_chosen() -> None:
    assert [len(workers) for workers in possible_workers(3, None, "cpu")] == [3]


@pytest.mark.parametrize(
    ("cpus", "gpus", "settings", "division"),
    [
        (32, 8, {"workers": "auto"}, (8, 4, True)),
        (32, 8, {"workers": "auto", "device": "cpu"}, (32, 1, False)),
        (32, 0, {"workers": "auto", "threads": 4}, (8, 4, False)),
        (32, 0, {"workers": 3}, (3, 10, False)),
        (2, 0, {"workers": 3}, (3, 1, False)),
    ],
)
def test_workers_of_a_cluster_share_its_resources(
    cpus: int, gpus: int, settings: dict[str, Any], division: tuple[int, int, bool]
) -> None:
    request = WorkerRequest(configuration="", **settings)
    assert divide_resources(request, cpus, gpus) == division
