"""One worker's part of a phase that works on the whole student, or scores its candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.core.blocks import candidate_of
from pbkd.models.rebuilding import rebuild
from pbkd.models.student import assemble

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from pbkd.protocols import BlockBuilder
    from pbkd.runs.assignment import Assignment
    from pbkd.training.task import DistillationTask


__all__ = ["StudentPart"]


@dataclass(frozen=True)
class StudentPart:
    """A worker's part.

    Attributes:
        folder: The run folder.
        rank: This worker's rank in the assignment.
        assignment: All workers, and the candidates.
        task: Teacher, data and chain.
        builders: The builders of the candidates, by the candidates' names.
        seed: The run's seed.
    """

    folder: Path
    rank: int
    assignment: Assignment
    task: DistillationTask
    builders: Mapping[str, BlockBuilder]
    seed: int

    def build_replacements(self) -> dict[str, nn.Module]:
        """Build the candidates, by name; their weights then come from files."""
        replacements = {}
        for name, builder in self.builders.items():
            block = self.assignment.blocks[candidate_of(name)[0]]
            segment = self.task.chain[block.position]
            replacements[name] = rebuild(builder, segment, block, self.seed)
        return replacements

    def build_student(self) -> nn.Module:
        """Build the student with these candidates; its weights then come from a file."""
        return assemble(self.task.chain, self.build_replacements()).to(self.task.device)
