"""Prediction of a whole run: the seconds of each of its phases, from measured costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.core.blocks import candidate_of
from pbkd.models.latency import expected_seconds

if TYPE_CHECKING:
    from collections.abc import Collection

    from pbkd.planning.plan import Plan


__all__ = ["Loading", "RunWork", "predict_phases"]

_BACKWARD = 3  # a training step takes about three forward passes
_SINGLE_IMAGE = 2  # an image alone takes about twice its share of a batch


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

    def step_seconds(self, compute: float) -> float:
        """Return the seconds of a step that computes for `compute` seconds."""
        busy = compute + self.own_seconds
        return max(busy, busy * self.cores_used + self.ahead_seconds)


@dataclass(frozen=True, kw_only=True)
class RunWork:
    """What a run has to do.

    Attributes:
        loading: Reading of batches.
        start_seconds: Seconds that workers take before their first step, in each blockwise phase.
        relay_seconds: Seconds per step of the student-fed phase, without loading.
        batch_size: Images per batch.
        labelled: Whether the images have labels.
        validation_images: Images of the validation split.
        test_images: Images of the test split.
        student_fed_steps: Steps of the student-fed phase.
        recalibration_batches: Batches for re-estimating BatchNorm statistics.
        epochs: Epochs of fine-tuning.
        epoch_steps: Steps of each.
    """

    loading: Loading
    start_seconds: float
    relay_seconds: float
    batch_size: int
    labelled: bool
    validation_images: int
    test_images: int
    student_fed_steps: int
    recalibration_batches: int
    epochs: int
    epoch_steps: int


def predict_phases(plan: Plan, student: Collection[str], work: RunWork) -> dict[str, float]:
    """Predict the seconds of every phase after planning.

    Args:
        plan: The plan with its measured costs.
        student: The candidates that are expected to enter the student.
        work: What the run has to do.

    Returns:
        The seconds by phase, in the order of the run.
    """
    teacher = sum(plan.segment_seconds.values())
    replaced = [p for p in plan.trained if p.name in student]
    blocks = {p.block.name for p in replaced}
    kept = sum(seconds for name, seconds in plan.segment_seconds.items() if name not in blocks)
    forward = kept + sum(p.forward_seconds or 0.0 for p in replaced)
    training = _BACKWARD * kept + sum(p.cost.train_seconds for p in replaced if p.cost)
    validation = _pass_seconds(work, work.validation_images, forward)
    recalibrated, tuned = work.recalibration_batches > 0, work.epochs > 0
    return {
        "teacher-fed": _teacher_fed_seconds(plan, work),
        "scoring": _scoring_seconds(plan, work, teacher),
        "student-fed": _blockwise_seconds(work, work.student_fed_steps, work.relay_seconds),
        "recalibration": (1 + recalibrated) * validation
        + work.recalibration_batches * work.loading.step_seconds(forward),
        "fine-tuning": work.epochs
        * (work.epoch_steps * work.loading.step_seconds(teacher + training) + validation),
        "evaluation": (1 + recalibrated + tuned) * _pass_seconds(work, work.test_images, forward)
        + (0.0 if work.labelled else _pass_seconds(work, work.test_images, teacher))
        + _latency_seconds(teacher + forward, work.batch_size),
    }


def _teacher_fed_seconds(plan: Plan, work: RunWork) -> float:
    """Add loading to the makespan: once per image for a cache, else in every job of a worker."""
    steps, schedule = plan.workload.steps, plan.schedule
    if schedule.feed == "cache":
        writing = plan.workload.distinct_steps * work.loading.step_seconds(0.0)
        return work.start_seconds + plan.seconds + writing
    jobs = max(map(len, schedule.assigned)) + len(schedule.shared) / len(schedule.assigned)
    if not steps:
        return 0.0
    return _blockwise_seconds(work, steps * jobs, plan.seconds / steps / jobs)


def _blockwise_seconds(work: RunWork, steps: float, compute: float) -> float:
    return work.start_seconds + steps * work.loading.step_seconds(compute) if steps else 0.0


def _scoring_seconds(plan: Plan, work: RunWork, teacher: float) -> float:
    """Pass the validation images through the teacher, and from each candidate to the end."""
    names = list(plan.segment_seconds)
    compute = teacher
    for planned in plan.trained:
        after = names[names.index(candidate_of(planned.name)[0]) + 1 :]
        compute += (planned.forward_seconds or 0.0) + sum(plan.segment_seconds[n] for n in after)
    passes = compute if work.labelled else compute + teacher  # for the teacher's labels
    return _pass_seconds(work, work.validation_images, passes)


def _pass_seconds(work: RunWork, images: int, compute: float) -> float:
    """Return the seconds of a pass over images, of which a batch takes `compute` seconds."""
    return images / work.batch_size * work.loading.step_seconds(compute)


def _latency_seconds(round_seconds: float, batch_size: int) -> float:
    single = _SINGLE_IMAGE * round_seconds / batch_size
    return expected_seconds(round_seconds) + (expected_seconds(single) if batch_size > 1 else 0.0)
