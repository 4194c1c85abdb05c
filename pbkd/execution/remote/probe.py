"""Measurement of a worker elsewhere: its machine, device and speed, and the link to it."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pbkd.config.load import load_config
from pbkd.core.devices import pick_device
from pbkd.core.process import thread_count
from pbkd.core.schedule import Worker
from pbkd.execution.workers import local_workers
from pbkd.models.latency import latencies
from pbkd.training.board_setup import can_share_memory
from pbkd.training.task import load_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbkd.config.schema import RunConfig
    from pbkd.execution.worker_request import WorkerRequest


__all__ = ["WorkerProbe", "measure_link", "prepare_probe", "worker_from_probe"]

_REPEATS = 15
_SAME_SPEED = 0.2  # relative difference below which speeds count as equal: timing is no better
_ECHO_BYTES = 4 * 2**20
_UNKNOWN_LINK = (Worker.latency, Worker.bandwidth)


@dataclass(frozen=True)
class WorkerProbe:
    """What was measured in a worker's process.

    Attributes:
        host: Name of its machine.
        device: Its device, such as `cuda:0`.
        threads: Its CPU threads.
        seconds: The teacher's forward pass of one batch.
    """

    host: str
    device: str
    threads: int
    seconds: float


def prepare_probe(request: WorkerRequest) -> Callable[[], WorkerProbe]:
    """Load the teacher on this process's device, to time it later.

    Where torchrun started several processes on a machine, each has its own device and its share of
    the cores. Workers should measure simultaneously, because they slow each
    other down in the real run too.

    Args:
        request: Threads, device, and the configuration that names the teacher.

    Returns:
        A function that times the teacher.
    """
    count = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    index = int(os.environ.get("LOCAL_RANK", "0"))
    worker = local_workers(count, request.threads, pick_device(request.device))[index]
    task = load_task(_configuration(request.configuration), worker.device)

    def probe() -> WorkerProbe:
        with thread_count(worker.threads):
            images = task.images.to(task.dtype)
            timings = latencies({"teacher": task.feeding}, images, repeats=_REPEATS)
        seconds = timings["teacher"].median_seconds
        return WorkerProbe(socket.gethostname(), worker.device, worker.threads, seconds)

    return probe


def _configuration(text: str) -> RunConfig:
    with tempfile.TemporaryDirectory(prefix="pbkd-") as name:
        file = Path(name, "config.yaml")
        file.write_text(text, encoding="utf-8")
        return load_config(file=file)


def measure_link(echo: Callable[[bytes], object]) -> tuple[float, float]:
    """Measure latency and bandwidth of the link to a worker.

    Args:
        echo: Sends bytes to the worker and waits until they are back.

    Returns:
        Seconds per message, and bytes per second.
    """
    seconds = []
    for size in (1, 1, _ECHO_BYTES):
        start = time.perf_counter()
        echo(bytes(size))
        seconds.append(time.perf_counter() - start)
    return seconds[1] / 2, 2 * _ECHO_BYTES / max(1e-6, seconds[2] - seconds[1])


def worker_from_probe(
    rank: int,
    probe: WorkerProbe,
    reference: WorkerProbe,
    link: tuple[float, float] = _UNKNOWN_LINK,
) -> Worker:
    """Describe a worker to the schedulers.

    Args:
        rank: The worker's rank.
        probe: Its measurement.
        reference: The measurement of this process, whose speed is 1.
        link: Latency and bandwidth of the link to this process, from `measure_link`; within one
            machine it is the node's link.

    Returns:
        The worker, with its speed relative to `reference`.
    """
    speed = reference.seconds / probe.seconds
    latency, bandwidth = link
    worker = Worker(
        rank,
        probe.device,
        probe.threads,
        speed=1.0 if abs(speed - 1) < _SAME_SPEED else round(speed, 2),
        node=probe.host,
        overlap=not probe.device.startswith("cpu"),
        shares_memory=can_share_memory(probe.device),
    )
    if probe.host == reference.host:
        return replace(worker, node_latency=latency, node_bandwidth=bandwidth)
    return replace(worker, latency=latency, bandwidth=bandwidth)
