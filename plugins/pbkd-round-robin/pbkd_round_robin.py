"""The paper's cyclic schedule."""

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
class RoundRobin:
    """Block i goes to worker i modulo the number of workers (arXiv 2012.03096).

    A worker's blocks are one job, so that they share its teacher pass.
    """

    name: ClassVar[str] = "round-robin"

    def schedule(self, costs: Sequence[BlockCost], workers: Sequence[Worker]) -> Schedule:
        """Deal the blocks out in turn, whatever they cost."""
        names = [cost.name for cost in costs]
        hands = [tuple(names[rank :: len(workers)]) for rank in range(len(workers))]
        return Schedule(tuple((Job(hand),) if hand else () for hand in hands))


@hookimpl
def register_schedulers() -> list[type[Scheduler]]:
    """Hand over the scheduler `round-robin`."""
    return [RoundRobin]
