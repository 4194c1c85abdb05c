from __future__ import annotations

import os

import pytest
import torch

from pbkd.config import load_config
from pbkd.launch import crew

CORES = len(os.sched_getaffinity(0))


def test_workers_share_the_cores() -> None:
    workers = crew(load_config([f"workers={CORES}"]), "cpu")
    assert [worker.rank for worker in workers] == list(range(CORES))
    assert [worker.threads for worker in workers] == [1] * CORES


def test_more_workers_than_cores_get_one_thread_each() -> None:
    workers = crew(load_config([f"workers={CORES + 3}"]), "cpu")
    assert len(workers) == CORES + 3
    assert all(worker.threads == 1 for worker in workers)


def test_threads_may_be_given() -> None:
    assert [w.threads for w in crew(load_config(["workers=2", "threads=3"]), "cpu")] == [3, 3]


def test_workers_take_accelerators_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    devices = [worker.device for worker in crew(load_config(["workers=3"]), "cuda")]
    assert devices == ["cuda:0", "cuda:1", "cuda:0"]
