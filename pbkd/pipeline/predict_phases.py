"""Prediction of a planned run: the seconds of every phase, and the candidates that will enter."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pbkd.core.process import thread_count
from pbkd.data.batching import shuffled_batches, steps_per_epoch
from pbkd.data.random_state import kept_random_state
from pbkd.pipeline.plan import plan_run
from pbkd.pipeline.plan_workers import START_SECONDS
from pbkd.pipeline.relay_schedule import candidate_costs, relay_schedule
from pbkd.pipeline.workload import phase_workload
from pbkd.planning.budget import is_limited, pick_candidates
from pbkd.planning.cost_model import makespan
from pbkd.planning.phase_prediction import Loading, RunWork, predict_phases

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from pbkd.config.schema import RunConfig
    from pbkd.core.schedule import Worker
    from pbkd.core.workload import Workload
    from pbkd.models.in_memory import InMemoryInputs
    from pbkd.pipeline.plan import PlannedRun
    from pbkd.planning.plan import Plan
    from pbkd.plugin.registry import Registry
    from pbkd.training.task import DistillationTask


__all__ = ["expected_candidates", "measure_loading", "plan_whole_run"]

_LOADING_SECONDS = 0.1  # of the measurement


def plan_whole_run(
    config: RunConfig,
    registry: Registry,
    inputs: InMemoryInputs | None = None,
    recorded: Mapping[str, dict[str, Any]] | None = None,
) -> PlannedRun:
    """Plan a run, and predict the seconds of all its phases on a machine that does nothing else.

    Args:
        config: The configuration.
        registry: The plugins.
        inputs: A teacher, and optionally data, that a program has in memory.
        recorded: The builders of a run that is resumed, see `plan_run`.

    Returns:
        The plan with its phases; no candidate is expected to be rejected.

    Raises:
        PbkdError: As `plan_run`.
    """
    planned = plan_run(config, registry, inputs, recorded)
    return replace(planned, phases=_predict(planned, registry))


def _predict(planned: PlannedRun, registry: Registry) -> dict[str, float]:
    config, task, plan = planned.config, planned.task, planned.plan
    several = len(plan.workers) > 1
    student = expected_candidates(planned)
    student_fed = phase_workload(task, config.distill.student_fed_epochs or 0)
    work = RunWork(
        loading=measure_loading(task, config.batch_size, plan.workers[0]),
        start_seconds=planned.build_seconds + (START_SECONDS if several else 0.0),
        relay_seconds=_relay_seconds(plan, student, registry, student_fed),
        batch_size=len(task.images),
        labelled=task.data.labelled,
        validation_images=len(task.data.validation),
        test_images=len(task.data.test),
        student_fed_steps=student_fed.steps,
        recalibration_batches=config.recalibrate_batches,
        epochs=config.finetune.epochs or 0,
        epoch_steps=steps_per_epoch(task.data.train, config.batch_size),
    )
    return predict_phases(plan, student, work)


def expected_candidates(planned: PlannedRun) -> tuple[str, ...]:
    """Return the candidates that enter the student if each is good enough.

    Under a budget, that is the largest student which meets it: a candidate's harm is taken to be
    the share of the MACs that it saves.
    """
    plan, budget = planned.plan, planned.config.budget
    if not is_limited(budget):
        return tuple(p.name for p in plan.trained)
    harms = {p.name: 1 - p.macs_after / p.macs_before for p in plan.trained}
    picked, _ = pick_candidates(budget, planned.task, plan, harms, planned.selector)
    return tuple(name for name in picked.values() if name is not None)


def measure_loading(task: DistillationTask, batch_size: int, worker: Worker) -> Loading:
    """Time some training batches; the random state of this process stays as it is."""
    on_cpu = worker.device == "cpu"
    with thread_count(worker.threads), kept_random_state(task.training.train):
        begin, own, count = time.perf_counter(), time.thread_time(), 0
        for images in _training_batches(task, batch_size):
            task.feed_input(images)
            count += 1
            if time.perf_counter() - begin > _LOADING_SECONDS:
                break
        seconds, own = time.perf_counter() - begin, time.thread_time() - own
    return Loading(
        own_seconds=min(own, seconds) / count,
        ahead_seconds=max(0.0, seconds - own) / count,
        cores_used=min(1.0, worker.threads / (os.cpu_count() or 1)) if on_cpu else 0.0,
    )


def _training_batches(task: DistillationTask, batch_size: int) -> Iterator[Tensor]:
    data = task.training
    for images, _ in shuffled_batches(
        data.train, batch_size, seed=0, epoch=0, augmentation=data.augmentation, phase="timing"
    ):
        yield images


def _relay_seconds(
    plan: Plan, student: tuple[str, ...], registry: Registry, workload: Workload
) -> float:
    """Predict a step of the student-fed phase.

    On the way to its last block, the student's activations pass through the kept segments too.
    """
    if not student:
        return 0.0
    costs = candidate_costs(plan, student)
    schedule = relay_schedule(registry, plan, student, workload)
    seconds = makespan(schedule, costs, plan.workers)
    names, trained = list(plan.segment_seconds), [cost.name for cost in costs]
    between = names[names.index(trained[0]) : names.index(trained[-1])]
    kept = sum(plan.segment_seconds[name] for name in between if name not in trained)
    return seconds + kept / len(plan.workers)
