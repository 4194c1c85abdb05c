"""Jobs that need nothing of each other: each worker does its own, then claims shared ones."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

from pbkd.planning.cost_model import job_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Schedule
    from pbkd.planning.cluster import Device
    from pbkd.planning.plan import Workload


__all__ = ["job_ends", "writing_seconds"]


def job_ends(
    schedule: Schedule, costs: Sequence[BlockCost], devices: Sequence[Device]
) -> list[float]:
    """Return when each worker has done its last job, in seconds per step; 0 without a job.

    Busy devices of a node slow each other, until one has nothing left to claim.
    """
    teacher = schedule.feed == "recompute"
    floor = _Floor(devices)
    shared = iter(schedule.shared)
    for index, jobs in enumerate(schedule.assigned):
        floor.start(index, sum(job_seconds(job, costs, teacher=teacher) for job in jobs))
    for index in floor.finished():
        if (job := next(shared, None)) is not None:
            floor.start(index, job_seconds(job, costs, teacher=teacher))
    return floor.ends


def writing_seconds(
    costs: Sequence[BlockCost], devices: Sequence[Device], workload: Workload
) -> float:
    """Return the seconds in which all devices write a cache: each an equal share of the batches."""
    batches = math.ceil(workload.distinct_steps / len(devices))
    teacher = max(cost.prefix_seconds + cost.teacher_seconds for cost in costs)
    return _slowest(devices) * teacher * batches


def _slowest(devices: Sequence[Device]) -> float:
    """Return by what the slowest device stretches a second of work, with all of them busy."""
    return max(
        (1 + device.nodes.contention * (min(device.nodes.devices, len(devices)) - 1))
        / device.worker.speed
        for device in devices
    )


class _Floor:
    """The devices at work: what each has left, and how many of its node work with it."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self._devices = devices
        self._on_node: dict[str, list[int]] = {}
        for index, device in enumerate(devices):
            self._on_node.setdefault(device.worker.node, []).append(index)
        self._busy = dict.fromkeys(self._on_node, 0)
        self._due: dict[int, float] = {}
        self._events: list[tuple[float, int]] = []
        self._now = 0.0
        self.ends = [0.0] * len(devices)

    def start(self, index: int, seconds: float) -> None:
        """Give a device work, in seconds at speed 1 on a node of its own."""
        device = self._devices[index]
        self._change_busy(device, 1)
        took = seconds / device.worker.speed * self._stretch(device)
        self._expect(index, self._now + took)

    def finished(self) -> Iterator[int]:
        """Yield devices in the order in which they are done, until none has anything to do."""
        while self._events:
            time, index = heapq.heappop(self._events)
            if self._due.get(index) != time:
                continue  # its node became slower or faster in the meantime
            self._now = self.ends[index] = time
            del self._due[index]
            self._change_busy(self._devices[index], -1)
            yield index

    def _change_busy(self, device: Device, change: int) -> None:
        """Stretch or shorten what the others of the node have left."""
        node, before = device.worker.node, self._stretch(device)
        self._busy[node] += change
        after = self._stretch(device)
        if after == before:
            return
        for index in self._on_node[node]:
            if index in self._due:
                left = (self._due[index] - self._now) * after / before
                self._expect(index, self._now + left)

    def _stretch(self, device: Device) -> float:
        return 1 + device.nodes.contention * max(0, self._busy[device.worker.node] - 1)

    def _expect(self, index: int, time: float) -> None:
        self._due[index] = time
        heapq.heappush(self._events, (time, index))
