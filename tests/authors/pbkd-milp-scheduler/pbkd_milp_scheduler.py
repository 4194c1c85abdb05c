"""Assign blocks to workers so that the longest load is least, by a mixed-integer program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pbkd import Job, Schedule, hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd import BlockCost, Worker, Workload

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class MilpScheduler:
    """Minimise the makespan of one job per worker.

    Args:
        seconds: Time limit of the solver.
    """

    name: ClassVar[str] = "milp-scheduler"
    seconds: float = 5.0

    def schedule(
        self, costs: Sequence[BlockCost], workers: Sequence[Worker], workload: Workload
    ) -> Schedule:
        """Solve for the assignment; blocks of one worker share a teacher pass."""
        from scipy.optimize import Bounds, LinearConstraint, milp

        count, crew = len(costs), len(workers)
        size = count * crew + 1  # the last variable is the makespan
        one_worker = np.zeros((count, size))
        loads = np.zeros((crew, size))
        for block, cost in enumerate(costs):
            for rank, worker in enumerate(workers):
                one_worker[block, block * crew + rank] = 1
                seconds = workload.steps * (cost.train_seconds + cost.teacher_seconds)
                loads[rank, block * crew + rank] = seconds / worker.speed
        loads[:, -1] = -1
        solution = milp(
            np.eye(size)[-1],
            integrality=[1] * (size - 1) + [0],
            bounds=Bounds(0, [1] * (size - 1) + [np.inf]),
            constraints=[LinearConstraint(one_worker, 1, 1), LinearConstraint(loads, -np.inf, 0)],
            options={"time_limit": self.seconds, "mip_rel_gap": 1e-3},
        )
        chosen = np.asarray(solution.x)[:-1].reshape(count, crew).argmax(1)
        names = [[c.name for c, at in zip(costs, chosen, strict=True) if at == rank]
                 for rank in range(crew)]  # fmt: skip
        return Schedule(tuple((Job(tuple(blocks)),) if blocks else () for blocks in names))


@hookimpl
def register_schedulers() -> list[type[MilpScheduler]]:
    """Register the scheduler `milp-scheduler`."""
    return [MilpScheduler]
