"""The context of one worker: its run, rank, task, builders, loss and assignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.data.batching import steps_per_epoch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pbkd.config.schema import DistillConfig
    from pbkd.protocols import BlockBuilder, Loss
    from pbkd.runs.assignment import Assignment
    from pbkd.training.optimisation import Optimisation
    from pbkd.training.task import DistillationTask


__all__ = ["WorkerContext"]


@dataclass(frozen=True, kw_only=True)
class WorkerContext:
    """Everything that a worker's functions share during one blockwise phase.

    Attributes:
        folder: The run folder.
        rank: This worker's rank in the assignment.
        task: Teacher, data and chain.
        builders: The builders of the candidates, by the candidates' names.
        loss: The loss of the blockwise phases.
        optimisation: Optimiser and learning rate schedule of the blockwise phases.
        assignment: Which worker trains which blocks.
        distill: The number of epochs.
        batch_size: Images per batch.
        seed: The run's seed.
        caches: The folder of the activation caches.
    """

    folder: Path
    rank: int
    task: DistillationTask
    builders: Mapping[str, BlockBuilder]
    loss: Loss
    optimisation: Optimisation
    assignment: Assignment
    distill: DistillConfig
    batch_size: int
    seed: int
    caches: Path

    @property
    def student_fed(self) -> bool:
        """Whether replacements are fed by the student."""
        return self.assignment.phase == "student-fed"

    @property
    def epochs(self) -> int:
        """Number of epochs of the phase."""
        distill = self.distill
        return (distill.student_fed_epochs if self.student_fed else distill.epochs) or 0

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches per epoch."""
        return steps_per_epoch(self.task.training.train, self.batch_size)
