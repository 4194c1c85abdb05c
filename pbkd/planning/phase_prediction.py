"""Prediction of a whole run: the seconds of each of its phases on some workers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pbkd.core.blocks import BlockCost
from pbkd.core.schedule import MOST_SHARING_MEMORY, Job, Schedule, share_of
from pbkd.core.workload import Workload
from pbkd.planning.cost_model import makespan
from pbkd.planning.run_work import PHASES

if TYPE_CHECKING:
    from pbkd.core.schedule import Worker
    from pbkd.planning.run_work import RunWork, SharedPass


__all__ = ["SecondsOf", "modelled_on", "predict_phases", "serial_phases", "sharing_workers"]

_EXCHANGE_SECONDS, _BYTES_PER_SECOND = 1e-4, 2e9
"""What adding up gradients or statistics takes in shared memory, waiting included."""

SecondsOf = Callable[[Schedule, Sequence[BlockCost], Workload], float]
"""Predicts the seconds of a schedule on some workers: by the cost model, or by a simulation."""


def modelled_on(workers: Sequence[Worker]) -> SecondsOf:
    """Return the prediction of the cost model for these workers."""

    def seconds(schedule: Schedule, costs: Sequence[BlockCost], workload: Workload) -> float:
        return makespan(schedule, costs, workers, workload)

    return seconds


def predict_phases(
    work: RunWork,
    teacher_fed: tuple[Schedule, Sequence[BlockCost], Workload],
    student_fed: Schedule | None,
    workers: Sequence[Worker],
    seconds_of: SecondsOf,
) -> dict[str, float]:
    """Predict the seconds of every phase after planning.

    Args:
        work: What the run has to do.
        teacher_fed: Schedule, costs and workload of the teacher-fed phase.
        student_fed: The schedule of the student-fed phase; None without one.
        workers: The workers of both schedules.
        seconds_of: Predicts the seconds of a schedule on these workers.

    Returns:
        The seconds by phase, in the order of the run.
    """
    phases = {phase: work.serial.get(phase, 0.0) for phase in PHASES}
    phases["teacher-fed"] += _teacher_fed_seconds(work, teacher_fed, seconds_of)
    phases["student-fed"] += _student_fed_seconds(work, student_fed, seconds_of)
    for phase in PHASES:
        passes = [shared for shared in work.passes if shared.phase == phase and shared.steps]
        phases[phase] += _passes_seconds(work, passes, workers, seconds_of)
    return phases


def sharing_workers(
    work: RunWork, workers: Sequence[Worker], modelled: Callable[[Sequence[Worker]], SecondsOf]
) -> dict[str, tuple[Worker, ...]]:
    """Return the workers of each phase that all share because that is faster, with their start.

    Args:
        work: What the run has to do.
        workers: The workers, at most one for each row of a batch.
        modelled: Returns what predicts the seconds of a schedule on some workers.

    Returns:
        The workers by phase; not more of them than the phase has parts.
    """
    shared = {}
    for phase in dict.fromkeys(each.phase for each in work.passes if each.is_shared):
        passes = [each for each in work.passes if each.phase == phase and each.steps]
        parts = [each.undivided or len(workers) for each in passes]
        together = tuple(workers[: max(parts, default=0)])
        groups = workers[:1], together
        alone, shorter = (_passes_seconds(work, passes, some, modelled(some)) for some in groups)
        if shorter < alone:
            shared[phase] = together
    return shared


def serial_phases(work: RunWork, worker: Worker) -> dict[str, float]:
    """Return the seconds of what one worker does alone, by phase; phases without any are left out.

    Planning is not among them.
    """
    phases = {phase: work.serial.get(phase, 0.0) for phase in PHASES}
    for each in work.passes:
        if not each.is_shared:
            phases[each.phase] += _seconds_alone(work, each, worker)
    return {phase: seconds for phase, seconds in phases.items() if seconds}


def _start_seconds(work: RunWork, workers: int) -> float:
    return work.start_seconds if workers > 1 else 0.0


def _teacher_fed_seconds(
    work: RunWork,
    teacher_fed: tuple[Schedule, Sequence[BlockCost], Workload],
    seconds_of: SecondsOf,
) -> float:
    """Add loading to the makespan: once per image for a cache, else in every job of a worker."""
    schedule, _, workload = teacher_fed
    if not workload.steps:
        return 0.0
    workers, seconds = len(schedule.assigned), seconds_of(*teacher_fed)
    start = work.build_seconds + _start_seconds(work, workers)
    if schedule.feed == "cache":
        written = workload.distinct_steps / workers
        return start + seconds + written * work.loading.step_seconds(0.0)
    jobs = max(map(len, schedule.assigned)) + len(schedule.shared) / workers
    loaded = workload.steps * jobs
    return start + loaded * work.loading.step_seconds(seconds / loaded)


def _student_fed_seconds(work: RunWork, schedule: Schedule | None, seconds_of: SecondsOf) -> float:
    steps = work.student_fed_steps
    if not steps or schedule is None:
        return 0.0
    compute = seconds_of(schedule, work.student_fed, Workload(steps, steps)) / steps
    start = work.build_seconds + _start_seconds(work, len(schedule.assigned))
    return start + steps * work.loading.step_seconds(compute)


def _passes_seconds(
    work: RunWork, passes: Sequence[SharedPass], workers: Sequence[Worker], seconds_of: SecondsOf
) -> float:
    """Return the seconds of a phase's passes: on all workers, or on the first if that is faster."""
    alone = sum(_seconds_alone(work, each, workers[0]) for each in passes)
    if len(workers) == 1 or not all(each.is_shared for each in passes):
        return alone
    together = sum(_seconds_together(work, each, workers, seconds_of) for each in passes)
    return min(alone, work.start_seconds + work.build_seconds + together)


def _seconds_alone(work: RunWork, each: SharedPass, worker: Worker) -> float:
    compute = (each.cost.teacher_seconds + each.cost.train_seconds) / worker.speed
    return each.steps * work.loading.step_seconds(compute)


def _seconds_together(
    work: RunWork, each: SharedPass, workers: Sequence[Worker], seconds_of: SecondsOf
) -> float:
    """Return the seconds of a relay of one stage, whose workers divide each batch."""
    job = Job((each.cost.name,))
    schedule = Schedule(((job,),) * len(workers), feed="relay")
    steps = math.ceil(each.steps)
    cost = _divided_by_speed(_exchanged(each.cost, workers), [w.speed for w in workers])
    compute = seconds_of(schedule, [cost], Workload(steps, steps)) / steps
    share = 1.0 if each.loads_whole_batches else 1 / len(workers)
    excess = _excess(each.undivided, [worker.speed for worker in workers])
    return each.steps * work.loading.step_seconds(excess * compute, excess * share)


def _exchanged(cost: BlockCost, workers: Sequence[Worker]) -> BlockCost:
    """Return a cost that contains its exchanges, if they go through memory that workers share.

    Relays are planned with the links between workers all the same: replicas of a stage round sums
    otherwise than one worker, so that a stage is divided only where that saves much.
    """
    one_node = len({worker.node for worker in workers}) == 1
    can_share = one_node and all(worker.shares_memory for worker in workers)
    if not can_share or len(workers) > MOST_SHARING_MEMORY:
        return cost
    seconds = cost.exchanges * _EXCHANGE_SECONDS + cost.parameter_bytes / _BYTES_PER_SECOND
    return replace(
        cost,
        train_seconds=cost.train_seconds + seconds,
        overhead_seconds=cost.overhead_seconds + seconds,
        parameter_bytes=0,
        exchanges=0,
    )


def _excess(parts: int, speeds: Sequence[float]) -> float:
    """Return how many times as long it takes because parts are not divided among workers."""
    if not parts:
        return 1.0
    shares = [share_of(parts, index, speeds) for index in range(len(speeds))]
    slowest = max((s.stop - s.start) / speed for s, speed in zip(shares, speeds, strict=True))
    return float(slowest * sum(speeds) / parts)


def _divided_by_speed(cost: BlockCost, speeds: Sequence[float]) -> BlockCost:
    """Return the cost which takes, in equal parts, what this one takes in parts by speed.

    A stage is as slow as its slowest worker with an equal part of the rows.
    """
    factor = len(speeds) * min(speeds) / sum(speeds)
    shrinking = cost.teacher_seconds + cost.train_seconds - cost.overhead_seconds
    seconds = factor * shrinking + cost.overhead_seconds
    return replace(cost, teacher_seconds=0.0, train_seconds=seconds)
