"""A relay, step by step: stages that compute, messages on their way, links that several share."""

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

AHEAD = 2  # batches on their way over a link at a time, as in pbkd.link
_FEW, _PER_STAGE = 256, 16  # steps, and more for each stage, after which the pace is steady


@dataclass(frozen=True)
class RelayTimes:
    """Seconds until the last stage is done, and of each worker's work in one step.

    `slowest` is the stage with most to do, and `parts` says where its time goes; of the seconds
    between two steps, `links` are beyond those, since messages wait for each other.
    """

    seconds: float
    busy: tuple[float, ...]
    slowest: int
    parts: StageParts[float]
    links: float


def relay_times(
    schedule: Schedule, costs: Sequence[BlockCost], devices: Sequence[Device], steps: int
) -> RelayTimes:
    """Simulate a relay of so many steps.

    A stage begins a step when it has its input and is done with the step before; it waits where
    two of its outputs are still on their way. Where all devices of a stage can overlap, a message
    takes time on links alone, and what leaves, or reaches, one node follows each other.
    A few hundred steps are simulated; further ones take the pace of the half amid these.
    """
    stages = _stages(schedule, costs, devices)
    window = min(steps, _FEW + _PER_STAGE * len(stages))
    ends = _Relay(stages, window).run()
    early, late = window // 4, 3 * window // 4
    pace = (ends[late] - ends[early]) / max(1, late - early)
    seconds = ends[-1] + (steps - window) * pace
    busy = [0.0] * len(devices)
    for stage, own in zip(schedule.stages, stages, strict=True):
        for rank in stage.ranks:
            busy[rank] = own.computing + own.adding
    slowest = max(range(len(stages)), key=lambda index: stages[index].pace)
    links = max(0.0, pace - stages[slowest].pace)
    return RelayTimes(seconds, tuple(busy), slowest, stages[slowest].parts, links)


@dataclass
class _Stage:
    """A stage's seconds of computing in a step, then of adding up gradients over `ports`.

    Its output leaves as a `message`, unless workers at either end spend time of their own on it.
    """

    parts: StageParts[float]
    computing: float
    adding: float = 0.0
    ports: tuple[Port, ...] = ()
    message: Message | None = None
    # What changes in the course of the simulation:
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
        """The seconds of a step where nothing has to be waited for."""
        sending = self.message.seconds if self.message else 0.0
        return max(self.computing + self.adding, sending)


def _stages(
    schedule: Schedule, costs: Sequence[BlockCost], devices: Sequence[Device]
) -> list[_Stage]:
    groups = [[devices[rank] for rank in stage.ranks] for stage in schedule.stages]
    # What of a message is hidden behind work is found out by the simulation.
    workers = [replace(device.worker, overlap=False) for device in devices]
    parts = relay_parts(schedule, costs, workers)
    busy = Counter(device.worker.node for group in groups for device in group)
    stages = [_stage(group, own, busy) for group, own in zip(groups, parts, strict=True)]
    moved = {cost.name: cost.input_bytes for cost in costs}
    for index, following in enumerate(schedule.stages[1:]):
        if _overlap(groups[index]) and _overlap(groups[index + 1]):
            stage, replicas = stages[index], [device.worker for device in groups[index]]
            others = [device.worker for device in groups[index + 1]]
            stage.message = message_between(replicas, others, moved[following.job.blocks[0]])
            if stage.pace > stage.computing + stage.adding:
                stage.parts = replace(stage.parts, sending=stage.pace)
    return stages


def _stage(group: Sequence[Device], parts: StageParts[float], busy: Mapping[str, int]) -> _Stage:
    stretch = max(1 + device.nodes.contention * (busy[device.worker.node] - 1) for device in group)
    if not _overlap(group):
        extra = parts.computing * (stretch - 1)
        return _Stage(parts, parts.seconds + extra)
    parts = replace(parts, receiving=0.0, sending=0.0)
    computing = parts.computing * stretch + parts.waiting
    nodes = dict.fromkeys(node_of(device.worker) for device in group)
    if len(nodes) == 1:
        return _Stage(parts, computing + parts.gradients)
    ports = tuple((way, node) for node in nodes for way in ("out", "in"))
    return _Stage(parts, computing, parts.gradients, ports)


def _overlap(group: Sequence[Device]) -> bool:
    return all(device.worker.overlap for device in group)


class _Relay:
    """The events of a relay, in the order of time."""

    def __init__(self, stages: Sequence[_Stage], steps: int) -> None:
        self._stages = stages
        self._steps = steps
        self._now = 0.0
        self._free: dict[Port, float] = {}
        self._events: list[tuple[float, int, Callable[[int], None], int]] = []
        self._count = 0
        stages[0].arrived = steps

    def run(self) -> list[float]:
        """Return when the last stage was done with each step."""
        self._begin(0)
        while self._events:
            self._now, _, happen, index = heapq.heappop(self._events)
            happen(index)
        return self._stages[-1].times

    def _after(self, seconds: float, happen: Callable[[int], None], index: int) -> None:
        self._count += 1  # events of the same time in the order in which they were expected
        heapq.heappush(self._events, (self._now + seconds, self._count, happen, index))

    def _begin(self, index: int) -> None:
        """Begin a stage's next step, if it can."""
        stage = self._stages[index]
        if stage.working or stage.held or stage.begun == stage.arrived:
            return
        stage.working = True
        stage.begun += 1
        self._after(stage.computing, self._computed if stage.adding else self._finish, index)

    def _computed(self, index: int) -> None:
        stage = self._stages[index]
        taken = [self._take(port, stage.adding) for port in stage.ports]
        self._after(max(taken), self._finish, index)

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
            self._send(index - 1)  # which may have waited for this one to take its next input
        self._begin(index)

    def _send(self, index: int) -> None:
        """Send what the stage's outlet may: two messages at a time, no more than are awaited."""
        stage, following = self._stages[index], self._stages[index + 1]
        if stage.held and stage.finished - stage.left <= AHEAD:
            stage.held = False
        while stage.sent < stage.finished and stage.sent <= following.finished + AHEAD:
            stage.sent += 1
            self._after(self._on_links(stage.message), self._arrive, index)

    def _arrive(self, index: int) -> None:
        stage = self._stages[index]
        stage.left += 1
        self._stages[index + 1].arrived += 1
        self._send(index)
        self._begin(index)
        self._begin(index + 1)

    def _on_links(self, message: Message | None) -> float:
        """Return the seconds until a message has arrived, if it takes links at all."""
        if message is None:
            return 0.0
        taken = [self._take(port, seconds) for port, seconds in message.ports.items()]
        return max(message.inside, *taken, 0.0) + message.latency

    def _take(self, port: Port, seconds: float) -> float:
        """Return the seconds until a port is through with this, after what it has to do."""
        self._free[port] = max(self._free.get(port, 0.0), self._now) + seconds
        return self._free[port] - self._now
