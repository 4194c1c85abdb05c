"""Cluster files: nodes with devices, links, power, prices and failure rates."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from pbkd.config.checks import ABOVE_ZERO
from pbkd.config.options import typed_options
from pbkd.config.yaml_files import read_yaml
from pbkd.core.schedule import Worker
from pbkd.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


__all__ = ["MOST_WORKERS", "Cluster", "Device", "Failures", "Nodes", "read_cluster"]

MOST_WORKERS = 4096
_MOST_DEVICES = 128  # of a node
_KEYS = ("nodes", "failures")
_BOUNDS = {
    "count": (1, MOST_WORKERS),
    "devices": (1, _MOST_DEVICES),
    "speed": (ABOVE_ZERO, 1e9),
    "contention": (0, 1e3),
    "bandwidth": (ABOVE_ZERO, 1e15),
    "latency": (0, 1e6),
    "device_bandwidth": (ABOVE_ZERO, 1e15),
    "device_latency": (0, 1e6),
    "busy_watts": (0, 1e9),
    "idle_watts": (0, 1e9),
    "price": (0, 1e9),
    "per_device_hour": (0, 1e6),
    "restart_seconds": (0, 1e9),
    "seed": (0, 2**31),
}


@dataclass(frozen=True)
class Nodes:
    """A group of identical nodes with identical devices; a device is a worker.

    Attributes:
        name: Name of the group.
        count: Number of nodes.
        devices: Devices per node.
        device: Kind of device, for the report.
        speed: Speed relative to the device on which the costs were measured.
        overlap: Whether a device communicates while it computes.
        contention: Slowdown of all devices of a node per further busy device, as a fraction.
        bandwidth: Bytes per second of a node's link to other nodes.
        latency: Seconds per message between nodes.
        device_bandwidth: Bytes per second of a device within its node (default: `bandwidth`).
        device_latency: Seconds per message within a node (default: `latency`).
        busy_watts: Power of a busy device; None if unknown.
        idle_watts: Power of an idle device; None if unknown.
        price: Price per device and hour; None if unknown.
    """

    name: str
    _: KW_ONLY
    count: int = 1
    devices: int = 1
    device: str = "cpu"
    speed: float = 1.0
    overlap: bool = False
    contention: float = 0.0
    bandwidth: float = 1e9
    latency: float = 1e-3
    device_bandwidth: float | None = None
    device_latency: float | None = None
    busy_watts: float | None = None
    idle_watts: float | None = None
    price: float | None = None


@dataclass(frozen=True)
class Failures:
    """Failures of devices, with exponentially distributed gaps.

    Attributes:
        per_device_hour: Failure rate per device and hour.
        restart_seconds: Seconds that all workers need to restart after a failure.
        seed: Seed of the simulated failures.
    """

    per_device_hour: float = 0.0
    restart_seconds: float = 60.0
    seed: int = 0


@dataclass(frozen=True)
class Device:
    """A device of a cluster: its worker and its group of nodes."""

    worker: Worker
    nodes: Nodes


@dataclass(frozen=True)
class Cluster:
    """Groups of nodes in the order of ranks, and their failures."""

    nodes: tuple[Nodes, ...]
    failures: Failures = field(default_factory=Failures)

    @property
    def size(self) -> int:
        """The number of devices."""
        return sum(nodes.count * nodes.devices for nodes in self.nodes)

    def devices(self, count: int) -> list[Device]:
        """Return the first `count` devices; raise `ConfigError` if there are fewer."""
        if not 1 <= count <= self.size:
            raise ConfigError(
                f"--workers asks for {count} workers, but the cluster has {self.size} devices."
            )
        return [Device(worker, nodes) for nodes, worker in islice(self._workers(), count)]

    def _workers(self) -> Iterator[tuple[Nodes, Worker]]:
        rank = 0
        for nodes in self.nodes:
            bandwidth, latency = nodes.device_bandwidth, nodes.device_latency
            for index in range(nodes.count * nodes.devices):
                yield (
                    nodes,
                    Worker(
                        rank,
                        nodes.device,
                        speed=nodes.speed,
                        bandwidth=nodes.bandwidth,
                        latency=nodes.latency,
                        node=f"{nodes.name}-{index // nodes.devices}",
                        node_bandwidth=nodes.bandwidth if bandwidth is None else bandwidth,
                        node_latency=nodes.latency if latency is None else latency,
                        overlap=nodes.overlap,
                    ),
                )
                rank += 1


def read_cluster(path: Path) -> Cluster:
    """Read a cluster file (YAML, described in docs/cluster.md).

    Raises:
        ConfigError: If the file is missing, damaged, or has unknown, ill-typed or out-of-range
            values.
    """
    where = f"the cluster file '{path}'"
    tree = read_yaml(path)
    for key in tree:
        if key not in _KEYS:
            raise ConfigError(f"{where} has an unknown key '{key}'.{did_you_mean(key, _KEYS)}")
    rows = tree.get("nodes")
    if not isinstance(rows, list) or not rows:
        raise ConfigError(f"{where} must have a list of 'nodes', each with a name.")
    nodes = tuple(_typed(Nodes, row, f"nodes.{i}", where) for i, row in enumerate(rows))
    names = [group.name for group in nodes]
    if len(set(names)) < len(names):
        raise ConfigError(f"{where} has two 'nodes' of the same name: use 'count', or other names.")
    cluster = Cluster(nodes, _typed(Failures, tree.get("failures") or {}, "failures", where))
    if cluster.size > MOST_WORKERS:
        raise ConfigError(f"{where} has {cluster.size:,} devices, but at most {MOST_WORKERS:,}.")
    for index, group in enumerate(nodes):
        _check_links(group, f"{where}, nodes.{index}")
    return cluster


def _typed(kind: Callable[..., Any], row: Any, key: str, where: str) -> Any:
    if not isinstance(row, dict):
        raise ConfigError(f"{where}, '{key}' must be a mapping of keys to values.")
    try:
        values = typed_options(kind, row, where=key)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    _check_bounds(values, key, where)
    return kind(**values)


def _check_bounds(values: Mapping[str, Any], key: str, where: str) -> None:
    for name, (low, high) in _BOUNDS.items():
        value = values.get(name)
        if value is not None and not low <= value <= high:
            least = "above 0" if low == ABOVE_ZERO else f"from {low:g}"
            raise ConfigError(f"{where}: '{key}.{name}' is {value}, not {least} to {high:g}.")
    for name in ("name", "device"):
        text = values.get(name, "x")
        if not text or not text.isprintable() or len(text) > 100:
            raise ConfigError(f"{where}: '{key}.{name}' must be 1 to 100 printable characters.")


def _check_links(nodes: Nodes, where: str) -> None:
    """Raise `ConfigError` if the link within a node is slower than the link between nodes."""
    if nodes.bandwidth > (nodes.device_bandwidth or math.inf):
        raise ConfigError(f"{where}: 'device_bandwidth' is below 'bandwidth': swap them.")
    if nodes.latency < (nodes.device_latency or 0):
        raise ConfigError(f"{where}: 'device_latency' is above 'latency': swap them.")
