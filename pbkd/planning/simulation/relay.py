"""Simulation of a relay: stages that compute, messages in transit, shared links."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pbkd.planning.cost_model import relay_parts
from pbkd.planning.simulation.message import message_between, node_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Schedule
    from pbkd.planning.cluster import Device
    from pbkd.planning.simulation.message import Message, Port
    from pbkd.planning.stage_cost import StageParts


__all__ = ["RelayTimes", "relay_times"]

MAX_IN_FLIGHT = 2  # batches in transit per link, as in pbkd.training.link
_MIN_STEPS, _STEPS_PER_STAGE = 256, 16  # simulated steps, after which the pace is steady
_MOST_STEPS = 2**18  # of all stages together, seconds


@dataclass(frozen=True)
class RelayTimes:
    """Simulated times of a relay.

    Attributes:
        seconds: Seconds until the last stage has finished.
        busy: Busy seconds of each worker in one step.
        slowest: Index of the stage with the most work per step.
        parts: The seconds per step of that stage, by activity.
        links: Seconds per step beyond these, in which messages wait for each other.
    """

    seconds: float
    busy: tuple[float, ...]
    slowest: int
    parts: StageParts[float]
    links: float


def relay_times(
    schedule: Schedule, costs: Sequence[BlockCost], devices: Sequence[Device], steps: int
) -> RelayTimes:
    """Simulate a relay.

    A stage begins a step when its input has arrived and it has finished the previous step; it
    waits while two of its outputs are in transit. If all devices of a stage overlap communication
    with computing, a message occupies links only, and messages that leave or reach one node are
    sent one after another.

    Args:
        schedule: A schedule with the relay feed.
        costs: Costs per step, in the order of the chain.
        devices: The device of each rank.
        steps: The number of steps. A few hundred are simulated; the others are extrapolated from
            the pace of the middle half of these.

    Returns:
        The times of the whole relay.
    """
    stages = _stages(schedule, costs, devices)
    window = min(
        steps, _MIN_STEPS + _STEPS_PER_STAGE * len(stages), max(4, _MOST_STEPS // len(stages))
    )
    ends = _Relay(stages, window).run()
    early, late = window // 4, 3 * window // 4
    pace = (ends[late] - ends[early]) / max(1, late - early)
    seconds = ends[-1] + (steps - window) * pace
    busy = [0.0] * len(devices)
    for scheduled, stage in zip(schedule.stages, stages, strict=True):
        for rank in scheduled.ranks:
            busy[rank] = stage.computing + stage.all_reduce
    slowest = max(range(len(stages)), key=lambda index: stages[index].pace)
    links = max(0.0, pace - stages[slowest].pace)
    return RelayTimes(seconds, tuple(busy), slowest, stages[slowest].parts, links)


@dataclass(kw_only=True)
class _Stage:
    """A stage: seconds of computing per step, then of the all-reduce over `ports`.

    `message` is its output; None if sending is part of the workers' computing.
    """

    parts: StageParts[float]
    computing: float
    all_reduce: float = 0.0
    ports: tuple[Port, ...] = ()
    message: Message | None = None
    # State of the simulation:
    working: bool = False
    begun: int = 0
    finished: int = 0
    arrived: int = 0
    held: bool = False
    sent: int = 0
    left: int = 0
    times: list[float] = field(default_factory=list)

    @property
    def pace(self) -> float:
        """The seconds per step without waiting."""
        sending = self.message.seconds if self.message else 0.0
        return max(self.computing + self.all_reduce, sending)


def _stages(
    schedule: Schedule, costs: Sequence[BlockCost], devices: Sequence[Device]
) -> list[_Stage]:
    groups = [[devices[rank] for rank in stage.ranks] for stage in schedule.stages]
    # The simulation, not the cost model, decides what overlaps.
    workers = [replace(device.worker, overlap=False) for device in devices]
    parts = relay_parts(schedule, costs, workers)
    busy = Counter(device.worker.node for group in groups for device in group)
    stages = [_stage(*pair, busy) for pair in zip(groups, parts, strict=True)]
    input_bytes = {cost.name: cost.input_bytes for cost in costs}
    for index, following in enumerate(schedule.stages[1:]):
        if _overlap(groups[index]) and _overlap(groups[index + 1]):
            stage, replicas = stages[index], [device.worker for device in groups[index]]
            others = [device.worker for device in groups[index + 1]]
            stage.message = message_between(replicas, others, input_bytes[following.job.blocks[0]])
            if stage.pace > stage.computing + stage.all_reduce:
                stage.parts = replace(stage.parts, sending=stage.pace)
    return stages


def _stage(group: Sequence[Device], parts: StageParts[float], busy: Mapping[str, int]) -> _Stage:
    stretch = max(1 + device.nodes.contention * (busy[device.worker.node] - 1) for device in group)
    if not _overlap(group):
        extra = parts.computing * (stretch - 1)
        return _Stage(parts=parts, computing=parts.seconds + extra)
    parts = replace(parts, receiving=0.0, sending=0.0)
    computing = parts.computing * stretch + parts.waiting
    nodes = dict.fromkeys(node_of(device.worker) for device in group)
    if len(nodes) == 1:
        return _Stage(parts=parts, computing=computing + parts.gradients)
    ports = tuple((way, node) for node in nodes for way in ("out", "in"))
    return _Stage(parts=parts, computing=computing, all_reduce=parts.gradients, ports=ports)


def _overlap(group: Sequence[Device]) -> bool:
    return all(device.worker.overlap for device in group)


class _Relay:
    """The event queue of a relay."""

    def __init__(self, stages: Sequence[_Stage], steps: int) -> None:
        self._stages = stages
        self._steps = steps
        self._now = 0.0
        self._free: dict[Port, float] = {}
        self._events: list[tuple[float, int, Callable[[int], None], int]] = []
        self._count = 0
        stages[0].arrived = steps

    def run(self) -> list[float]:
        """Return the time at which the last stage finished each step."""
        self._begin(0)
        while self._events:
            self._now, _, happen, index = heapq.heappop(self._events)
            happen(index)
        return self._stages[-1].times

    def _after(self, seconds: float, happen: Callable[[int], None], index: int) -> None:
        self._count += 1  # events at the same time are handled in the order of scheduling
        heapq.heappush(self._events, (self._now + seconds, self._count, happen, index))

    def _begin(self, index: int) -> None:
        """Begin a stage's next step, if it can."""
        stage = self._stages[index]
        if stage.working or stage.held or stage.begun == stage.arrived:
            return
        stage.working = True
        stage.begun += 1
        self._after(stage.computing, self._computed if stage.all_reduce else self._finish, index)

    def _computed(self, index: int) -> None:
        stage = self._stages[index]
        waits = [self._occupy(port, stage.all_reduce) for port in stage.ports]
        self._after(max(waits), self._finish, index)

    def _finish(self, index: int) -> None:
        stage = self._stages[index]
        stage.working = False
        stage.finished += 1
        if index == len(self._stages) - 1:
            stage.times.append(self._now)
        else:
            stage.held = True
            self._send(index)
        if index:
            self._send(index - 1)  # it may have waited for room at this stage
        self._begin(index)

    def _send(self, index: int) -> None:
        """Send finished outputs, at most `MAX_IN_FLIGHT` ahead of the next stage."""
        stage, following = self._stages[index], self._stages[index + 1]
        if stage.held and stage.finished - stage.left <= MAX_IN_FLIGHT:
            stage.held = False
        while stage.sent < stage.finished and stage.sent <= following.finished + MAX_IN_FLIGHT:
            stage.sent += 1
            self._after(self._transfer(stage.message), self._arrive, index)

    def _arrive(self, index: int) -> None:
        stage = self._stages[index]
        stage.left += 1
        self._stages[index + 1].arrived += 1
        self._send(index)
        self._begin(index)
        self._begin(index + 1)

    def _transfer(self, message: Message | None) -> float:
        """Return the seconds until a message arrives; 0 without a message."""
        if message is None:
            return 0.0
        waits = [self._occupy(port, seconds) for port, seconds in message.ports.items()]
        return max(message.inside, *waits, 0.0) + message.latency

    def _occupy(self, port: Port, seconds: float) -> float:
        """Occupy a port after its earlier messages; return the seconds until it is free again."""
        self._free[port] = max(self._free.get(port, 0.0), self._now) + seconds
        return self._free[port] - self._now
