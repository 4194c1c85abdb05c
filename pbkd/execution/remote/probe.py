"""Where a worker elsewhere is: its machine and device, how fast these are, the way to it."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pbkd.core.devices import pick_device
from pbkd.core.process import thread_count
from pbkd.core.schedule import Worker
from pbkd.execution.workers import local_workers
from pbkd.models.metrics import latencies
from pbkd.plugin.registry import build_registry
from pbkd.training.task import build_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbkd.config.schema import RunConfig


__all__ = ["Place", "measured_link", "stopwatch", "worker_at"]

_REPEATS = 15
_ALIKE = 0.2  # speeds that differ by less are taken to be equal: timing is no better
_ECHO_BYTES = 4 * 2**20
_UNKNOWN = (Worker.latency, Worker.bandwidth)


@dataclass(frozen=True)
class Place:
    """A process's machine, device and threads; `seconds` is a teacher's pass of a batch there."""

    host: str
    device: str
    threads: int
    seconds: float


def stopwatch(config: RunConfig) -> Callable[[], Place]:
    """Load the teacher on this process's device; return what times it there.

    The device is the process's own among those of the machine; where torchrun started several
    processes on it, each has its share of the cores. Workers that time at once disturb each other
    as they do at work.
    """
    count = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    index = int(os.environ.get("LOCAL_RANK", "0"))
    own = local_workers(count, config.threads, pick_device(config.device))[index]
    task = build_task(config, build_registry(config.plugins), own.device)

    def timed() -> Place:
        with thread_count(own.threads):
            images = task.images.to(task.dtype)
            found = latencies({"teacher": task.feeding}, images, repeats=_REPEATS)
        seconds = found["teacher"].median_seconds
        return Place(socket.gethostname(), own.device, own.threads, seconds)

    return timed


def measured_link(echo: Callable[[bytes], object]) -> tuple[float, float]:
    """Return the seconds of a message, and the bytes per second, to who sends back what it gets."""
    seconds = []
    for size in (1, 1, _ECHO_BYTES):
        start = time.perf_counter()
        echo(bytes(size))
        seconds.append(time.perf_counter() - start)
    return seconds[1] / 2, 2 * _ECHO_BYTES / max(1e-6, seconds[2] - seconds[1])


def worker_at(rank: int, place: Place, own: Place, link: tuple[float, float] = _UNKNOWN) -> Worker:
    """Return the worker at a place; its speed is relative to this process's `own`.

    `link` is that to this process: one within a machine, or one between two.
    """
    speed = own.seconds / place.seconds
    latency, bandwidth = link
    worker = Worker(
        rank,
        place.device,
        place.threads,
        speed=1.0 if abs(speed - 1) < _ALIKE else round(speed, 2),
        node=place.host,
        overlap=not place.device.startswith("cpu"),
    )
    if place.host == own.host:
        return replace(worker, node_latency=latency, node_bandwidth=bandwidth)
    return replace(worker, latency=latency, bandwidth=bandwidth)
