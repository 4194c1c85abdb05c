"""Test accuracy in detail: the change from teacher to student, and the accuracy by class."""

from __future__ import annotations

from dataclasses import dataclass

from pbkd.core.intervals import Interval, difference_interval

__all__ = ["ClassScore", "PairedChange"]


@dataclass(frozen=True, kw_only=True)
class PairedChange:
    """The change of accuracy from one network to another on the same images: a 2x2 table.

    Attributes:
        both_correct: Images that both networks classify correctly.
        lost: Images that only the first one classifies correctly.
        gained: Images that only the second one classifies correctly.
        both_wrong: Images that neither classifies correctly.
        difference: The second accuracy minus the first, a share (0.01 is a point).
        interval: 95 % interval of the difference.
    """

    both_correct: int
    lost: int
    gained: int
    both_wrong: int
    difference: float
    interval: Interval

    @classmethod
    def of(cls, *, both_correct: int, lost: int, gained: int, both_wrong: int) -> PairedChange:
        """Compute the difference and its interval from the counts."""
        images = both_correct + lost + gained + both_wrong
        return cls(
            both_correct=both_correct,
            lost=lost,
            gained=gained,
            both_wrong=both_wrong,
            difference=(gained - lost) / images,
            interval=difference_interval(lost, gained, images),
        )

    @property
    def images(self) -> int:
        """The number of images."""
        return self.both_correct + self.lost + self.gained + self.both_wrong


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """The test accuracy of teacher and student on the images of one class.

    Attributes:
        label: The class.
        name: Its name; None if it is unknown.
        images: Number of test images.
        teacher_correct: Number of them that the teacher classifies correctly.
        student_correct: Number of them that the student classifies correctly.
    """

    label: int
    name: str | None
    images: int
    teacher_correct: int
    student_correct: int
