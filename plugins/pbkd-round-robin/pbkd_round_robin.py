"""The paper's cyclic schedule (arXiv 2012.03096)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pbkd import Job, Schedule, hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd import BlockCost, Worker
    from pbkd.protocols import Scheduler

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class RoundRobin:
    """Assign block i to worker i modulo the number of workers (arXiv 2012.03096).

    A worker's blocks are one job, so that they share its teacher pass.
    """

    name: ClassVar[str] = "round-robin"

    def schedule(self, costs: Sequence[BlockCost], workers: Sequence[Worker]) -> Schedule:
        """Assign the blocks cyclically, regardless of their costs.

        Args:
            costs: Measured costs of the blocks, in the order of the chain.
            workers: The workers, by rank.

        Returns:
            One job per worker that has blocks.
        """
        names = [cost.name for cost in costs]
        assigned = [tuple(names[rank :: len(workers)]) for rank in range(len(workers))]
        return Schedule(tuple((Job(blocks),) if blocks else () for blocks in assigned))


@hookimpl
def register_schedulers() -> list[type[Scheduler]]:
    """Register the scheduler `round-robin`."""
    return [RoundRobin]
