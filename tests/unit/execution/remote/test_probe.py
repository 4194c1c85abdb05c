from __future__ import annotations

import time
from dataclasses import replace

import pytest

from pbkd.core.schedule import Worker
from pbkd.errors import WorkerError
from pbkd.execution.remote.current import current_coordinator
from pbkd.execution.remote.probe import WorkerProbe, measure_link, prepare_probe, worker_from_probe
from pbkd.execution.worker_request import WorkerRequest
from pbkd.training.board_setup import can_share_memory


def test_speed_is_relative_to_this_process() -> None:
    reference = WorkerProbe("here", "cpu", 1, seconds=0.2)
    worker = worker_from_probe(
        3, WorkerProbe("there", "cuda:0", 8, seconds=0.04), reference, (2e-4, 1e8)
    )
    assert worker == Worker(
        3, "cuda:0", 8, speed=5.0, bandwidth=1e8, latency=2e-4, node="there", overlap=True
    )
    assert worker_from_probe(1, WorkerProbe("there", "cpu", 1, seconds=0.4), reference).speed == 0.5


def test_a_link_within_a_machine_is_one_within_a_node() -> None:
    reference = WorkerProbe("here", "cpu", 1, seconds=0.2)
    worker = worker_from_probe(1, reference, reference, (1e-5, 1e10))
    link = Worker(1, node="here", node_bandwidth=1e10, node_latency=1e-5)
    assert worker == replace(link, shares_memory=can_share_memory("cpu"))


def test_speeds_that_timing_cannot_tell_apart_are_equal() -> None:
    reference = WorkerProbe("here", "cpu", 1, seconds=0.2)
    assert (
        worker_from_probe(1, WorkerProbe("there", "cpu", 1, seconds=0.23), reference).speed == 1.0
    )


def test_a_link_is_timed_there_and_back() -> None:
    def echo(content: bytes) -> None:
        time.sleep(0.02 + len(content) / 50e6)  # each way 0.01 s, and 100 MB a second

    latency, bandwidth = measure_link(echo)
    assert latency == pytest.approx(0.01, rel=0.3)
    assert bandwidth == pytest.approx(100e6, rel=0.3)


def test_a_process_has_its_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbkd.execution.workers._core_count", lambda: 12)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    request = WorkerRequest(configuration="batch_size: 8")
    probe = prepare_probe(request)()
    assert (probe.device, probe.threads) == ("cpu", 3)
    assert probe.seconds > 0


def test_the_launcher_says_how_it_is_started() -> None:
    with pytest.raises(WorkerError, match="torchrun --nproc-per-node=2 -m pbkd run"):
        current_coordinator()
