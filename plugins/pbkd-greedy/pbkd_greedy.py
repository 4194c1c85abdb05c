"""A greedy load balancer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pbkd import Job, Schedule, hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd import BlockCost, Worker
    from pbkd.protocols import Scheduler

PBKD_CONTRACT = 1


@dataclass(frozen=True)
class Greedy:
    """Each block in turn, from the last to the first, goes to the worker it leaves least loaded.

    A worker's blocks are one job: its load is the teacher pass up to its last block plus the
    training of each. Going backwards, the teacher pass of a worker is known with its first block.
    """

    name: ClassVar[str] = "greedy"

    def schedule(self, costs: Sequence[BlockCost], workers: Sequence[Worker]) -> Schedule:
        """Balance measured seconds, a worker's speed included."""
        hands: list[list[str]] = [[] for _ in workers]
        loads = [0.0 for _ in workers]
        for cost in reversed(costs):
            teacher = cost.prefix_seconds + cost.teacher_seconds
            after = [
                load + (cost.train_seconds + (0.0 if hand else teacher)) / worker.speed
                for load, hand, worker in zip(loads, hands, workers, strict=True)
            ]
            best = after.index(min(after))
            hands[best].insert(0, cost.name)
            loads[best] = after[best]
        return Schedule(tuple((Job(tuple(hand)),) if hand else () for hand in hands))


@hookimpl
def register_schedulers() -> list[type[Scheduler]]:
    """Hand over the scheduler `greedy`."""
    return [Greedy]
