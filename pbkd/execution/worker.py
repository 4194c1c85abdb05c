"""One worker of a phase: it trains blocks, or takes part in work on the whole student."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from pbkd.config.load import load_config
from pbkd.core.files import user_path
from pbkd.core.process import keep_freed_memory, thread_count
from pbkd.core.torch_modes import ordinary_modes
from pbkd.data.batching import shuffled_batches, shuffled_rows
from pbkd.execution.context import WorkerContext
from pbkd.execution.early_end import EarlyEnd
from pbkd.execution.job import block_starts, candidate_starts, run_job
from pbkd.execution.job_queue import claim_jobs
from pbkd.execution.process_group import process_group
from pbkd.execution.scoring import score_batches
from pbkd.execution.student_part import StudentPart
from pbkd.execution.student_tuning import tune_student
from pbkd.plugin.user_code import trusting_registry
from pbkd.runs.assignment import FINE_TUNING, SCORED, read_assignment
from pbkd.runs.identity import check_rows
from pbkd.training.activation_cache import CacheSpec
from pbkd.training.cache_filling import open_cache
from pbkd.training.feeds import from_cache, recompute
from pbkd.training.finetune_loss import tuning_settings
from pbkd.training.losses import create_loss
from pbkd.training.optimisation import create_optimisation
from pbkd.training.relay import RelayJob, relay_epochs, replicas_of
from pbkd.training.task import build_task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from pbkd.models.in_memory import InMemoryInputs
    from pbkd.plugin.registry import Registry
    from pbkd.training.relay import CreateGroup
    from pbkd.training.task import DistillationTask

__all__ = ["LaunchedWork", "epoch_batches", "work"]


@dataclass(frozen=True)
class LaunchedWork:
    """What a launcher calls: `work` with what the host has for it.

    Attributes:
        registry: The host's plugins, for a worker in the host's process; not pickled.
        task: The host's task, likewise.
        inputs: The teacher and data of a program that passes them in memory, if any.
    """

    registry: Registry | None = None
    task: DistillationTask | None = None
    inputs: InMemoryInputs | None = None

    def __call__(self, folder: Path, rank: int) -> None:
        """Do one worker's part, see `work`."""
        work(folder, rank, self)

    def __reduce__(self) -> tuple[type[LaunchedWork], tuple[None, None, InMemoryInputs | None]]:
        """Other processes load plugins, teacher and data themselves."""
        return LaunchedWork, (None, None, self.inputs)


@ordinary_modes()
def work(folder: Path, rank: int, given: LaunchedWork | None = None) -> None:
    """Do one worker's part of a phase.

    Each trained replacement is written to `folder/PHASE/NAME.safetensors`, and recorded as an
    event `block`; the fine-tuned student is a checkpoint; what is found in scoring is written to
    `folder/PHASE/PART.safetensors`.

    Args:
        folder: The run folder, with configuration, assignment and initial weights.
        rank: This worker's rank in the assignment.
        given: What the host has loaded, or its program has in memory.
    """
    given = given or LaunchedWork()
    keep_freed_memory()
    config = load_config(file=folder / "config.yaml")
    assignment = read_assignment(folder)
    worker = assignment.workers[rank]
    # The host has checked what the folder names.
    names = config.teacher["name"], config.data["name"]
    registry = given.registry or trusting_registry(config.plugins, *names)
    builders = {
        name: registry.create("builder", choice) for name, choice in assignment.builders.items()
    }
    with thread_count(worker.threads):
        task = given.task
        if task is None or str(task.device) != worker.device:
            task = build_task(config, registry, worker.device, given.inputs)
            check_rows(folder, task.data)
        if assignment.phase in (FINE_TUNING, *SCORED):
            part = StudentPart(folder, rank, assignment, task, builders, config.seed)
            if assignment.phase in SCORED:
                score_batches(part)
                return
            batches = {"batch_size": config.batch_size, "seed": config.seed}
            tune_student(part, tuning_settings(registry, config.finetune, task, **batches))
            return
        context = WorkerContext(
            folder=folder,
            rank=rank,
            distill=config.distill,
            batch_size=config.batch_size,
            seed=config.seed,
            caches=user_path(config.out) / "cache",
            task=task,
            builders=builders,
            loss=create_loss(registry, config.distill.loss),
            optimisation=create_optimisation(registry, config.distill, "distill"),
            assignment=assignment,
        )
        _work_blockwise(context)


def _work_blockwise(context: WorkerContext) -> None:
    """Run this worker's jobs of a blockwise phase."""
    assignment, size = context.assignment, len(context.assignment.workers)
    together = size > 1 and assignment.schedule.feed != "recompute"
    device, rank = context.task.device, context.rank
    group = process_group(device, rank, size, assignment.launch) if together else None
    with group or nullcontext(_no_group) as create_group:
        if assignment.schedule.feed == "relay":
            _work_in_relay(context, create_group)
        else:
            _FEEDS[assignment.schedule.feed](context)


def _no_group(_ranks: Sequence[int]) -> None:
    """Stand in for the function that creates groups of workers, in a single worker."""


def _work_alone(context: WorkerContext) -> None:
    """Run jobs that need no activations from other workers."""
    starts = candidate_starts(context)
    begins = block_starts(starts)
    end = EarlyEnd(context.folder, context.epochs)
    for job in claim_jobs(context.assignment.schedule, context.rank, context.assignment.launch):
        first = min(begins[name] for name in job.blocks)
        epochs = (
            recompute(
                context.task.feeding,
                [name for name in job.blocks if begins[name] <= epoch],
                batches,
                student_fed=context.student_fed,
            )
            for epoch, batches in enumerate(epoch_batches(context, first), first)
        )
        run_job(context, job, starts, end.before_end(epochs, first), end)
        if end.has_come:
            return


def _work_in_relay(context: WorkerContext, create_group: CreateGroup) -> None:
    """Run one stage of a relay."""
    schedule, task = context.assignment.schedule, context.task
    starts = candidate_starts(context)
    if len(context.assignment.workers) > 1:
        dist.barrier()  # every rank reads the checkpoints before any rank writes one
    first = min(starts.values())
    relay_job = RelayJob(
        chain=task.feeding,
        blocks=context.assignment.blocks,
        schedule=schedule,
        batch_rows=min(context.batch_size, len(task.training.train)),
        steps=(context.epochs - first) * context.steps_per_epoch,
        student_fed=context.student_fed,
        device=task.device,
        dtype=task.dtype,
        starts=block_starts(starts),
    )
    rows = relay_job.batch_rows
    replicas = replicas_of(schedule, context.rank, rows, create_group, task.device)
    end = _end_of_relay(context)
    for job in schedule.assigned[context.rank]:
        images = epoch_batches(context, first)
        steps = context.steps_per_epoch
        epochs = relay_epochs(relay_job, context.rank, images, steps, end.is_after)
        run_job(context, job, starts, epochs, end, replicas)


def _end_of_relay(context: WorkerContext) -> EarlyEnd:
    """The first worker of the first stage decides for all."""
    assignment = context.assignment
    if len(assignment.workers) == 1:
        return EarlyEnd(context.folder, context.epochs)
    first = assignment.schedule.stages[0].ranks[0]
    decides = context.rank == first
    return EarlyEnd(context.folder, context.epochs, assignment.launch, decides)


def _work_from_cache(context: WorkerContext) -> None:
    """Run jobs from the activation cache, which all workers fill first if it is missing."""
    task, assignment = context.task, context.assignment
    assert assignment.cache is not None, "a cached schedule names its cache"
    spec = CacheSpec(
        context.caches / assignment.cache,
        list(assignment.blocks.values()),
        len(task.training.train),
        task.dtype,
    )
    cache = open_cache(
        spec,
        task.feeding,
        _share_of_rows(context),
        rank=context.rank,
        workers=len(assignment.workers),
    )
    starts = candidate_starts(context)
    begins = block_starts(starts)
    end = EarlyEnd(context.folder, context.epochs)
    for job in assignment.schedule.assigned[context.rank]:
        first = min(begins[name] for name in job.blocks)
        epochs = (
            from_cache(
                cache,
                [assignment.blocks[name] for name in job.blocks if begins[name] <= epoch],
                shuffled_rows(
                    task.training.train,
                    context.batch_size,
                    seed=context.seed,
                    epoch=epoch,
                    phase=assignment.phase,
                ),
                task.device,
            )
            for epoch in range(first, context.epochs)
        )
        run_job(context, job, starts, end.before_end(epochs, first), end)
        if end.has_come:
            return


def _share_of_rows(context: WorkerContext) -> Iterator[tuple[slice, Tensor]]:
    """Yield this worker's share of the training rows, with their images in full batches.

    A short batch is padded with its last row: a kernel's rounding may depend on the batch size.
    """
    task, size = context.task, context.batch_size
    split = task.training.train
    chunks = torch.split(torch.arange(len(split)), size)
    for rows in chunks[context.rank :: len(context.assignment.workers)]:
        padded = torch.cat([rows, rows[-1:].expand(size - len(rows))])
        yield slice(int(rows[0]), int(rows[-1]) + 1), task.feed_input(split.images(padded))


def epoch_batches(context: WorkerContext, first: int = 0) -> Iterator[Iterator[Tensor]]:
    """Yield the normalised image batches of each epoch of the phase.

    They depend only on (seed, phase, epoch, step), so that every job of every worker sees the same.

    Args:
        context: This worker's context.
        first: The epoch to begin with.

    Yields:
        One iterator per epoch, over tensors of shape (batch, channels, height, width).
    """
    task = context.task
    for epoch in range(first, context.epochs):
        yield (
            task.feed_input(images)
            for images, _ in shuffled_batches(
                task.training.train,
                context.batch_size,
                seed=context.seed,
                epoch=epoch,
                augmentation=task.training.augmentation,
                phase=context.assignment.phase,
            )
        )


_FEEDS = {"recompute": _work_alone, "cache": _work_from_cache}
