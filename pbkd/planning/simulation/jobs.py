"""Simulation of independent jobs: workers run their assigned jobs, then claim shared ones."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

from pbkd.planning.cost_model import chain_order, trained_costs, trained_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Job, Schedule
    from pbkd.core.workload import Workload
    from pbkd.planning.cluster import Device


__all__ = ["job_ends", "writing_seconds"]


def job_ends(
    schedule: Schedule, costs: Sequence[BlockCost], devices: Sequence[Device]
) -> list[float]:
    """Return when each worker finishes its last job, in seconds per step; 0 without a job.

    Busy devices of one node slow each other down.
    """
    teacher, order = schedule.feed == "recompute", chain_order(costs)

    def seconds_of(job: Job) -> float:
        return trained_seconds(trained_costs(job, costs, order), teacher=teacher)

    simulation = _JobSimulation(devices)
    shared = iter(schedule.shared)
    for index, jobs in enumerate(schedule.assigned):
        simulation.start(index, sum(map(seconds_of, jobs)))
    for index in simulation.finished():
        if (job := next(shared, None)) is not None:
            simulation.start(index, seconds_of(job))
    return simulation.ends


def writing_seconds(
    costs: Sequence[BlockCost], devices: Sequence[Device], workload: Workload
) -> float:
    """Return the seconds to fill the cache; every device writes an equal share of the batches."""
    batches = math.ceil(workload.distinct_steps / len(devices))
    teacher = max(cost.prefix_seconds + cost.teacher_seconds for cost in costs)
    return _slowest(devices) * teacher * batches


def _slowest(devices: Sequence[Device]) -> float:
    """Return the seconds that the slowest device needs per second of work, with all busy."""
    return max(
        (1 + device.nodes.contention * (min(device.nodes.devices, len(devices)) - 1))
        / device.worker.speed
        for device in devices
    )


class _JobSimulation:
    """Busy devices with their remaining work, slowed by the busy devices of the same node."""

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
        """Start work on a device; `seconds` is for speed 1 and no contention."""
        device = self._devices[index]
        self._change_busy(device, 1)
        duration = seconds / device.worker.speed * self._stretch(device)
        self._expect(index, self._now + duration)

    def finished(self) -> Iterator[int]:
        """Yield devices in the order in which they finish, until none is busy."""
        while self._events:
            time, index = heapq.heappop(self._events)
            if self._due.get(index) != time:
                continue  # outdated: contention changed since
            self._now = self.ends[index] = time
            del self._due[index]
            self._change_busy(self._devices[index], -1)
            yield index

    def _change_busy(self, device: Device, change: int) -> None:
        """Rescale the remaining work of the node's other devices."""
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
