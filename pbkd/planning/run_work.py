"""The work of a run's phases after planning, for any number of workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pbkd.core.blocks import BlockCost

__all__ = ["PHASES", "Loading", "RunWork", "SharedPass"]

PHASES = ("teacher-fed", "scoring", "student-fed", "recalibration", "fine-tuning", "evaluation")
"""The phases after planning, in the order of a run."""


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Reading, augmentation and normalisation of a training batch.

    Attributes:
        own_seconds: Seconds of the process that computes.
        ahead_seconds: Seconds of threads and processes that read ahead, while nothing else goes on.
        cores_used: Share of the cores that computing uses, which these cannot use meanwhile.
    """

    own_seconds: float
    ahead_seconds: float = 0.0
    cores_used: float = 1.0

    def step_seconds(self, compute: float, share: float = 1.0) -> float:
        """Return the seconds of a step that loads a share of a batch.

        Args:
            compute: Seconds of the step without loading.
            share: The share of the batch.
        """
        busy = compute + share * self.own_seconds
        return max(busy, busy * self.cores_used + share * self.ahead_seconds)


@dataclass(frozen=True, kw_only=True)
class SharedPass:
    """Passes over batches, whose rows workers divide by their speeds.

    Attributes:
        phase: The phase.
        cost: The cost of a batch on one worker, without loading, and what workers exchange that
            share it.
        steps: Number of batches; a part of one for a short batch.
        loads_whole_batches: Whether each worker loads whole batches to take its rows, as in
            training, where augmentation depends on the whole batch.
        undivided: Number of parts, each of which is one worker's as a whole; 0 if workers divide
            the rows of every batch.
        is_shared: Whether all workers share the passes of the phase if that is faster, with their
            start; else one does them alone.
    """

    phase: str
    cost: BlockCost
    steps: float
    loads_whole_batches: bool = False
    undivided: int = 0
    is_shared: bool = False


@dataclass(frozen=True, kw_only=True)
class RunWork:
    """What a run has to do besides its teacher-fed phase.

    Attributes:
        planning_seconds: Seconds of planning.
        start_seconds: Seconds that several workers take to start, in each phase that they share.
        build_seconds: Seconds that a worker takes to build the replacements, in each blockwise
            phase.
        loading: Loading of a training batch.
        student_fed: Costs per step of the student-fed phase, without loading.
        student_fed_steps: Its steps.
        passes: Passes over batches after the teacher-fed phase, but for the student-fed phase.
        serial: By phase, the seconds of what one worker does alone, for any number of them.
    """

    planning_seconds: float
    start_seconds: float
    build_seconds: float
    loading: Loading
    student_fed: tuple[BlockCost, ...]
    student_fed_steps: int
    passes: tuple[SharedPass, ...]
    serial: Mapping[str, float] = field(default_factory=dict)
