"""One rank: claims jobs, feeds them from the teacher, trains them, writes what they learnt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.data.batching import steps_per_epoch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pbkd.config.schema import RunConfig
    from pbkd.protocols import BlockBuilder, Loss
    from pbkd.runs.assignment import Assignment
    from pbkd.training.task import DistillationTask


__all__ = ["WorkerContext"]


@dataclass(frozen=True)
class WorkerContext:
    """What a worker works with: its run, its rank, teacher and data, builders, loss, assignment."""

    folder: Path
    rank: int
    config: RunConfig
    task: DistillationTask
    builders: Sequence[BlockBuilder]
    loss: Loss
    assignment: Assignment

    @property
    def student_fed(self) -> bool:
        """Whether replacements are fed by the student."""
        return self.assignment.phase == "student-fed"

    @property
    def epochs(self) -> int:
        """How many epochs the phase has."""
        distill = self.config.distill
        return (distill.student_fed_epochs if self.student_fed else distill.epochs) or 0

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        return steps_per_epoch(self.task.training.train, self.config.batch_size)
