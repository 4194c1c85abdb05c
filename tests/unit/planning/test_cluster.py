from __future__ import annotations

from pathlib import Path

import pytest

from pbkd.errors import ConfigError
from pbkd.planning.cluster import Failures, read_cluster

GOOD = """
nodes:
  - name: big
    count: 2
    devices: 2
    device: gpu
    speed: 2
    overlap: true
    bandwidth: 1.0e9
    latency: 1.0e-3
    device_bandwidth: 1.0e11
    device_latency: 1.0e-5
    busy_watts: 300
    price: 2.5
  - name: small
failures:
  per_device_hour: 0.001
"""


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "cluster.yaml").write_text(text)
    return tmp_path / "cluster.yaml"


def test_devices_are_workers_in_the_order_of_the_file(tmp_path: Path) -> None:
    cluster = read_cluster(written(tmp_path, GOOD))
    assert cluster.size == 5
    assert cluster.failures == Failures(per_device_hour=0.001)
    workers = [device.worker for device in cluster.devices(5)]
    assert [worker.rank for worker in workers] == [0, 1, 2, 3, 4]
    assert [worker.node for worker in workers] == ["big-0", "big-0", "big-1", "big-1", "small-0"]
    assert [worker.speed for worker in workers] == [2, 2, 2, 2, 1]
    assert (workers[0].bandwidth, workers[0].node_bandwidth) == (1e9, 1e11)
    assert (workers[0].latency, workers[0].node_latency) == (1e-3, 1e-5)
    assert cluster.devices(1)[0].nodes.price == 2.5
    assert cluster.devices(5)[4].nodes.busy_watts is None


def test_links_inside_a_node_are_by_default_like_those_between(tmp_path: Path) -> None:
    text = "nodes: [{name: a, devices: 2, bandwidth: 5.0e6, latency: 0.25}]"
    worker = read_cluster(written(tmp_path, text)).devices(1)[0].worker
    assert (worker.node_bandwidth, worker.node_latency) == (5e6, 0.25)


def test_more_devices_than_there_are_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="6 workers, but the cluster has 5 devices"):
        read_cluster(written(tmp_path, GOOD)).devices(6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "must have a list of 'nodes'"),
        ("nodes: []", "must have a list of 'nodes'"),
        ("nodes: [3]", "'nodes.0' must be a mapping"),
        ("nodes: [{count: 2}]", "'nodes.0.name' is required"),
        ("node: []", "unknown key 'node'. Did you mean 'nodes'"),
        ("nodes: [{name: a, sped: 2}]", "unknown option 'nodes.0.sped'. Did you mean 'speed'"),
        ("nodes: [{name: a, speed: fast}]", "'nodes.0.speed'"),
        ("nodes: [{name: a, speed: 0}]", "'nodes.0.speed' is 0.0, not above 0"),
        ("nodes: [{name: a, speed: .nan}]", "'nodes.0.speed' is nan"),
        ("nodes: [{name: a, latency: -1}]", "'nodes.0.latency' is -1.0, not from 0"),
        ("nodes: [{name: a, count: 5000}]", "'nodes.0.count' is 5000, not from 1 to 4096"),
        ("nodes: [{name: a, count: 100, devices: 100}]", "has 10,000 devices, but at most 4,096"),
        ("nodes: [{name: a}, {name: a}]", "two 'nodes' of the same name"),
        ('nodes: [{name: ""}]', "'nodes.0.name' must be 1 to 100 printable"),
        ("nodes: [{name: a, device_bandwidth: 10}]", "'device_bandwidth' is below 'bandwidth'"),
        ("nodes: [{name: a, device_latency: 1}]", "'device_latency' is above 'latency'"),
        ("nodes: [{name: a}]\nfailures: {rate: 1}", "unknown option 'failures.rate'"),
        ("nodes: [{name: a}]\nfailures: 3", "'failures' must be a mapping"),
        ("nodes: [", "is not YAML"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_cluster(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
