"""Cross-checks of whole runs: their optimiser steps, and the equality of their students."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch.optim.optimizer import register_optimizer_step_post_hook

from pbkd.core.events import PhaseStarted
from pbkd.errors import BenchError
from pbkd.models.student_files import WEIGHTS
from pbkd.models.weights import read_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import torch

    from pbkd.config.schema import RunConfig
    from pbkd.core.events import Event

__all__ = ["PhaseSteps", "check_phase_steps", "check_students"]

_TOLERANCE = 0.05
"""Difference of weights of the fine-tuned students, relative to the largest of their tensor."""


@dataclass
class PhaseSteps:
    """Counts the optimiser steps of this process, by phase.

    Attributes:
        counts: The number of steps of all optimisers, by the name of the phase.
    """

    counts: Counter[str] = field(default_factory=Counter)
    _phase: str = ""

    def see(self, event: Event) -> None:
        """Take note of the phase that begins."""
        if isinstance(event, PhaseStarted):
            self._phase = event.phase

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count within the context."""

        def add(*_: object) -> None:
            self.counts[self._phase] += 1

        handle = register_optimizer_step_post_hook(add)
        try:
            yield
        finally:
            handle.remove()


def check_phase_steps(
    procedure: str, config: RunConfig, counts: Mapping[str, int], blocks: int, steps: int
) -> None:
    """Check the optimiser steps of a run on one worker, which is this process.

    Args:
        procedure: Name of the procedure.
        config: The configuration.
        counts: The steps that were taken, by phase.
        blocks: Number of blocks that were trained.
        steps: Steps of an epoch.

    Raises:
        BenchError: A phase took more or fewer steps.
    """
    expected = {
        "teacher-fed": blocks * steps * (config.distill.epochs or 0),
        "student-fed": blocks * steps * config.distill.student_fed_epochs,
        "fine-tuning": steps * (config.finetune.epochs or 0),
    }
    for phase, count in expected.items():
        if counts.get(phase, 0) != count:
            raise BenchError(
                f"'{procedure}' took {counts.get(phase, 0):,} optimiser steps in the {phase} phase"
                f" instead of {count:,}: the figures do not measure what they say."
            )


def check_students(one: Path, other: Path) -> None:
    """Check that two runs gave the same student, up to the rounding of sums.

    Args:
        one: A run folder.
        other: Another one.

    Raises:
        BenchError: Weights differ.
    """
    student = f"student/{WEIGHTS}"
    names = [str(path.relative_to(one)) for path in sorted(one.glob("*-fed/*.safetensors"))]
    for name in [*names, student]:
        a, b = read_weights(one / name), read_weights(other / name)
        if wrong := [key for key in a if not _is_close(a[key], b[key])]:
            raise BenchError(f"'{other}' has other weights than '{one}' in {name}: {wrong[0]}.")


def _is_close(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape:
        return False
    largest = float(a.abs().max()) if a.numel() else 0.0
    return bool((a.double() - b.double()).abs().max() <= _TOLERANCE * largest) if largest else True
