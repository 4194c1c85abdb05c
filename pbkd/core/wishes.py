"""Wishes: what a user's target asks of the student, and what it has."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Wish"]


@dataclass(frozen=True)
class Wish:
    """A limit of the target beside the student's figure.

    Attributes:
        key: The key of the configuration.
        wanted: The limit.
        reached: The student's figure, in the same unit.
        is_met: Whether the limit is kept.
        what: The student's figure in words.
        is_open: Whether it may be kept for all that is known, if it is not met.
        advice: What explains the verdict or helps, as sentences that begin with a space.
    """

    key: str
    wanted: float
    reached: float
    is_met: bool
    what: str
    is_open: bool = False
    advice: str = ""

    @property
    def sentence(self) -> str:
        """What was wanted and what the student has."""
        verdict = "is kept" if self.is_met else "is not kept"
        if self.is_open:
            verdict = "is not certain to be kept"
        return f"{self.key}={self.wanted:g} {verdict}: the student {self.what}.{self.advice}"
