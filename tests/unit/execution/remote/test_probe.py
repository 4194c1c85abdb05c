from __future__ import annotations

import time

import pytest

from pbkd.config.load import load_config
from pbkd.core.schedule import Worker
from pbkd.errors import WorkerError
from pbkd.execution.remote.probe import Place, measured_link, stopwatch, worker_at
from pbkd.execution.remote.rendezvous import met


def test_speed_is_relative_to_this_process() -> None:
    own = Place("here", "cpu", 1, seconds=0.2)
    worker = worker_at(3, Place("there", "cuda:0", 8, seconds=0.04), own, (2e-4, 1e8))
    assert worker == Worker(
        3, "cuda:0", 8, 5.0, bandwidth=1e8, latency=2e-4, node="there", overlap=True
    )
    assert worker_at(1, Place("there", "cpu", 1, seconds=0.4), own).speed == 0.5


def test_a_link_within_a_machine_is_one_within_a_node() -> None:
    own = Place("here", "cpu", 1, seconds=0.2)
    worker = worker_at(1, own, own, (1e-5, 1e10))
    assert worker == Worker(1, node="here", node_bandwidth=1e10, node_latency=1e-5)


def test_speeds_that_timing_cannot_tell_apart_are_equal() -> None:
    own = Place("here", "cpu", 1, seconds=0.2)
    assert worker_at(1, Place("there", "cpu", 1, seconds=0.23), own).speed == 1.0


def test_a_link_is_timed_there_and_back() -> None:
    def echo(content: bytes) -> None:
        time.sleep(0.02 + len(content) / 50e6)  # each way 0.01 s, and 100 MB a second

    latency, bandwidth = measured_link(echo)
    assert latency == pytest.approx(0.01, rel=0.3)
    assert bandwidth == pytest.approx(100e6, rel=0.3)


def test_a_process_has_its_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbkd.execution.workers._cores", lambda: 12)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    place = stopwatch(load_config(["batch_size=8"]))()
    assert (place.device, place.threads) == ("cpu", 3)
    assert place.seconds > 0


def test_the_launcher_says_how_it_is_started() -> None:
    with pytest.raises(WorkerError, match="torchrun --nproc-per-node=2 -m pbkd run"):
        met()
