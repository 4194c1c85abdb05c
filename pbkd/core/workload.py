"""The training steps that a schedule is made for."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Workload"]


@dataclass(frozen=True)
class Workload:
    """The training of every block.

    Attributes:
        steps: All steps.
        distinct_steps: The steps whose images no earlier step has shown.
        epochs: Passes over the images; None if unknown, as in the cost files of other programs.
        cache_bytes: Most bytes that the activation cache may take; 0 if there can be none, None if
            there is no limit, as in `pbkd plan`.
    """

    steps: int
    distinct_steps: int
    epochs: int | None = None
    cache_bytes: int | None = None
