"""Prediction of a planned run: the seconds of every phase, and the candidates that will enter."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pbkd.core.blocks import candidate_of
from pbkd.core.process import thread_count
from pbkd.core.workload import Workload
from pbkd.data.batching import shuffled_batches, steps_per_epoch
from pbkd.data.random_state import kept_random_state
from pbkd.errors import is_out_of_memory
from pbkd.models.latency import latencies
from pbkd.models.student import assemble
from pbkd.pipeline.plan import cost_table, plan_run
from pbkd.pipeline.plan_workers import START_SECONDS
from pbkd.pipeline.workload import phase_workload
from pbkd.planning.curve_prediction import curve_phases
from pbkd.planning.long_phases import long_phases
from pbkd.planning.phase_prediction import modelled_on, predict_phases, sharing_workers
from pbkd.planning.phase_work import (
    sample_seconds,
    serial_work,
    shared_passes,
    student_fed_costs,
)
from pbkd.planning.profiling import overhead_share
from pbkd.planning.relay_schedule import relay_schedule
from pbkd.planning.run_extent import RunExtent
from pbkd.planning.run_work import Loading, RunWork
from pbkd.training.finetune import trial_step
from pbkd.training.finetune_loss import tuning_settings
from pbkd.training.replicas import replica_traffic
from pbkd.training.task import sample_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from pbkd.config.schema import RunConfig
    from pbkd.core.schedule import Worker
    from pbkd.models.in_memory import InMemoryInputs
    from pbkd.pipeline.plan import PlannedRun
    from pbkd.plugin.registry import Registry
    from pbkd.training.task import DistillationTask


__all__ = ["measure_loading", "plan_whole_run"]

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
    start = time.perf_counter()
    planned = plan_run(config, registry, inputs, recorded)
    runs = [
        replace(planned, config=point.config, expected=point.expected, points={})
        for point in planned.points.values()
    ] or [planned]
    works = _measure_works(runs, registry)
    work = works[0]
    rows = min(config.batch_size, len(planned.task.data.train))
    sharing = sharing_workers(work, planned.plan.workers[:rows], modelled_on)
    predicted = [_predict(*each, registry) for each in zip(runs, works, strict=True)]
    together = "fine-tuning" not in sharing
    phases = curve_phases([*zip(predicted, works, strict=True)], together=together)
    planned = replace(planned, phases=phases, sharing=sharing)
    seconds = work.planning_seconds + time.perf_counter() - start
    return replace(planned, work=replace(work, planning_seconds=seconds))


def _measure_works(runs: Sequence[PlannedRun], registry: Registry) -> list[RunWork]:
    """Count the work of all phases after planning, of runs that differ in the student alone.

    The loading of batches, the overhead of fine-tuning and the cost of float32 are measured once,
    for the first run.
    """
    first = runs[0]
    is_long = "fine-tuning" in long_phases(first.plan, first.expected, _extent(first))
    overhead = _tuning_overhead(first, first.expected, registry) if is_long else None
    worker = first.plan.workers[0]
    loading = measure_loading(first.task, first.config.batch_size, worker)
    factor = _scoring_factor(first.task, worker)
    extents = [
        replace(_extent(each), tuning_overhead=overhead, scoring_factor=factor) for each in runs
    ]
    return [_count_work(*each, loading) for each in zip(runs, extents, strict=True)]


def _count_work(planned: PlannedRun, extent: RunExtent, loading: Loading) -> RunWork:
    """Count the work of a run; of planning, the seconds of the teacher's sample alone."""
    config, task, plan = planned.config, planned.task, planned.plan
    names = planned.expected
    return RunWork(
        planning_seconds=sample_seconds(plan, extent, loading),
        start_seconds=START_SECONDS,
        build_seconds=planned.build_seconds,
        loading=loading,
        student_fed=student_fed_costs(plan, names),
        student_fed_steps=phase_workload(task, config.distill.student_fed_epochs).steps,
        passes=shared_passes(plan, names, extent),
        serial=serial_work(plan, names, extent, loading),
    )


def _extent(planned: PlannedRun) -> RunExtent:
    config, task = planned.config, planned.task
    replacements = {candidate_of(name)[0]: planned.replacements[name] for name in planned.expected}
    segments = [replacements.get(name, old) for name, old in task.chain.named_children()]
    gradient_bytes, exchanges = replica_traffic(nn.ModuleList(segments))
    return RunExtent(
        batch_size=len(task.images),
        labelled=task.data.labelled,
        validation_images=len(task.data.validation),
        test_images=len(task.data.test),
        sample_images=_sample_images(task),
        recalibration_batches=config.recalibrate_batches,
        epochs=max(planned.epochs["fine-tuning"]),
        epoch_steps=steps_per_epoch(task.data.train, config.batch_size),
        training_images=len(task.data.train),
        gradient_bytes=gradient_bytes,
        exchanges=exchanges,
        augmented_per_image=task.data.augmentation.is_per_image,
    )


def _tuning_overhead(
    planned: PlannedRun, names: tuple[str, ...], registry: Registry
) -> float | None:
    """Measure the overhead of fine-tuning by steps of a copy of the student, if memory allows.

    It is larger than that of the blocks, each of which is timed alone and stays in a cache.
    """
    config, task = planned.config, planned.task
    replacements = {name: planned.replacements[name] for name in names}
    student = assemble(task.chain, replacements).to(task.device)
    settings = tuning_settings(
        registry, config.finetune, task, batch_size=config.batch_size, seed=config.seed
    )
    labels = task.data.train.labels[: len(task.images)].to(task.device)
    known = labels if task.data.labelled else None
    step = trial_step(student, settings, task.feeding, task.images, known)
    threads = planned.plan.workers[0].threads
    try:
        with thread_count(threads), kept_random_state(task.data.train):
            return overhead_share(step, len(task.images), task.device)
    except Exception as error:
        if is_out_of_memory(error):
            return None
        raise


def _scoring_factor(task: DistillationTask, worker: Worker) -> float:
    """Measure how many times as long a pass through the teacher takes in float32 as in training."""
    if task.dtype == torch.float32:
        return 1.0
    passes: dict[str, Callable[[Tensor], object]] = {
        "scoring": task.fused,
        "training": lambda images: task.feeding(images.to(task.dtype)),
    }
    with thread_count(worker.threads):
        found = latencies(passes, task.images)
    return found["scoring"].median_seconds / found["training"].median_seconds


def _sample_images(task: DistillationTask) -> int:
    data = task.data
    return sample_size(len(data.test), data.num_classes) if data.labelled else 0


def _predict(planned: PlannedRun, work: RunWork, registry: Registry) -> dict[str, float]:
    plan, costs = planned.plan, work.student_fed
    steps = Workload(work.student_fed_steps, work.student_fed_steps)
    pipeline = partial(registry.create, "scheduler", {"name": "pipeline"})
    return predict_phases(
        work,
        (plan.schedule, cost_table(planned).costs, plan.workload),
        relay_schedule(pipeline, costs, plan.workers, steps) if costs else None,
        plan.workers,
        modelled_on(plan.workers),
    )


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
