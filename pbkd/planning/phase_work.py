"""The work of a planned run's phases, counted from its costs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pbkd.core.blocks import BlockCost, candidate_of
from pbkd.models.accuracy import SCORING_BATCH
from pbkd.models.latency import expected_seconds
from pbkd.planning.long_phases import long_phases
from pbkd.planning.run_work import SharedPass
from pbkd.training.solo_pass import SOLO_BATCHES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pbkd.planning.plan import Plan, PlannedBlock
    from pbkd.planning.run_extent import RunExtent
    from pbkd.planning.run_work import Loading


__all__ = ["sample_seconds", "serial_work", "shared_passes", "student_fed_costs"]

_BACKWARD = 3  # a training step takes about three forward passes
_SINGLE_IMAGE = 2  # an image alone takes about twice its share of a batch


def shared_passes(
    plan: Plan, student: Collection[str], extent: RunExtent
) -> tuple[SharedPass, ...]:
    """Return the passes over batches after the teacher-fed phase.

    The student-fed phase is not among them.

    Args:
        plan: The plan with its measured costs.
        student: The candidates that are expected to enter the student.
        extent: How much the run has to do.
    """
    teacher = sum(plan.segment_seconds.values())
    replaced, kept = _student_parts(plan, student)
    forward = kept + _forward_seconds(replaced)
    recalibrated, tuned = extent.recalibration_batches > 0, extent.epochs > 0
    solo = _solo_seconds(plan, teacher, labelled=extent.labelled)
    validate = partial(_evaluation, extent, extent.validation_images)
    test = partial(_evaluation, extent, extent.test_images, "evaluation")
    passes = (
        validate("scoring", solo, 1, part=SOLO_BATCHES * extent.batch_size),
        validate("recalibration", forward, 1 + recalibrated),
        SharedPass(
            phase="fine-tuning",
            cost=_training_cost(replaced, teacher, kept, extent),
            steps=extent.epochs * extent.epoch_steps,
            loads_whole_batches=not extent.augmented_per_image,
        ),
        validate("fine-tuning", forward, extent.epochs),
        test(forward, 1 + recalibrated + tuned),
        test(teacher, int(extent.sample_images < extent.test_images)),
    )
    long = long_phases(plan, student, extent)
    return tuple(replace(each, is_shared=each.phase in long) for each in passes)


def serial_work(
    plan: Plan, student: Collection[str], extent: RunExtent, loading: Loading
) -> dict[str, float]:
    """Return the seconds, by phase, of what one worker does alone.

    That is the re-estimation of BatchNorm statistics, one batch after another, and the latencies.
    """
    replaced, kept = _student_parts(plan, student)
    forward = extent.scoring_factor * (kept + _forward_seconds(replaced))
    round_seconds = extent.scoring_factor * sum(plan.segment_seconds.values()) + forward
    return {
        "recalibration": extent.recalibration_batches * loading.step_seconds(forward),
        "evaluation": _latency_seconds(round_seconds, extent.batch_size),
    }


def sample_seconds(plan: Plan, extent: RunExtent, loading: Loading) -> float:
    """Return the seconds in which the teacher predicts the sample of the test split."""
    teacher = extent.scoring_factor * sum(plan.segment_seconds.values())
    return extent.sample_images / extent.batch_size * loading.step_seconds(teacher)


def student_fed_costs(plan: Plan, student: Collection[str]) -> tuple[BlockCost, ...]:
    """Return the costs per step of the student-fed phase.

    On the way to a block, the student's activations pass through the kept segments too; they are
    counted as training of the block after them.
    """
    by_block = {p.block.name: p.cost for p in plan.trained if p.name in student and p.cost}
    costs: list[BlockCost] = []
    between = 0.0
    for name, seconds in plan.segment_seconds.items():
        cost = by_block.get(name)
        if cost is None:
            between += seconds if costs else 0.0
        else:
            costs.append(replace(cost, train_seconds=cost.train_seconds + between))
            between = 0.0
    return tuple(costs)


def _student_parts(plan: Plan, student: Collection[str]) -> tuple[list[PlannedBlock], float]:
    """Return the replacements of the student, and the seconds of the segments that it keeps."""
    replaced = [p for p in plan.trained if p.name in student]
    blocks = {p.block.name for p in replaced}
    segments: Mapping[str, float] = plan.segment_seconds
    return replaced, sum(seconds for name, seconds in segments.items() if name not in blocks)


def _forward_seconds(replaced: Collection[PlannedBlock]) -> float:
    return sum(p.forward_seconds or 0.0 for p in replaced)


def _training_cost(
    replaced: Collection[PlannedBlock], teacher: float, kept: float, extent: RunExtent
) -> BlockCost:
    """The teacher's pass and the training of replacements and kept segments, for one batch."""
    costs = [p.cost for p in replaced if p.cost]
    training = _BACKWARD * kept + sum(cost.train_seconds for cost in costs)
    overhead = sum(cost.overhead_seconds for cost in costs)
    if extent.tuning_overhead is not None:
        overhead = extent.tuning_overhead * (teacher + training)
    return BlockCost(
        "student", 0.0, teacher, training,
        parameter_bytes=extent.gradient_bytes,
        exchanges=extent.exchanges,
        overhead_seconds=overhead,
    )  # fmt: skip


def _evaluation(
    extent: RunExtent,
    images: int,
    phase: str,
    seconds: float,
    times: int,
    part: int = SCORING_BATCH,
) -> SharedPass:
    """Pass images some times through networks that are scored, in undivided parts."""
    return SharedPass(
        phase=phase,
        cost=BlockCost("student", 0.0, extent.scoring_factor * seconds, 0.0),
        steps=times * images / extent.batch_size,
        undivided=-(-images // part),
    )


def _solo_seconds(plan: Plan, teacher: float, *, labelled: bool) -> float:
    """Pass a batch through the teacher, and from each candidate to the end."""
    names = list(plan.segment_seconds)
    seconds = teacher
    for planned in plan.trained:
        after = names[names.index(candidate_of(planned.name)[0]) + 1 :]
        seconds += (planned.forward_seconds or 0.0) + sum(plan.segment_seconds[n] for n in after)
    return seconds if labelled else seconds + teacher  # for the teacher's labels


def _latency_seconds(round_seconds: float, batch_size: int) -> float:
    single = _SINGLE_IMAGE * round_seconds / batch_size
    return expected_seconds(round_seconds) + (expected_seconds(single) if batch_size > 1 else 0.0)
