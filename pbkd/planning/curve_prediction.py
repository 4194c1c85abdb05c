"""Prediction of a curve: the seconds of each phase, for all of its points."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.planning.run_work import RunWork


__all__ = ["curve_phases"]

_ONCE = ("teacher-fed", "scoring")


def curve_phases(
    points: Sequence[tuple[Mapping[str, float], RunWork]], *, together: bool
) -> dict[str, float]:
    """Add up the phases of runs that share what can be shared.

    Args:
        points: For each run alone, the predicted seconds of its phases, and its work. A single one
            keeps its phases.
        together: Whether the students are fine-tuned together, with one pass of the teacher.

    Returns:
        The seconds by phase.
    """
    first = points[0][0]
    phases = {
        name: seconds if name in _ONCE else sum(each[name] for each, _ in points)
        for name, seconds in first.items()
    }
    if together:
        taught = [_teacher_seconds(work) for _, work in points]
        phases["fine-tuning"] -= sum(taught) - max(taught)
    return phases


def _teacher_seconds(work: RunWork) -> float:
    """Return the seconds of the teacher's passes in fine-tuning, on one worker."""
    return sum(
        each.steps * each.cost.teacher_seconds
        for each in work.passes
        if each.phase == "fine-tuning" and each.cost.train_seconds
    )
