"""Selection of a run's schedule: the configured scheduler's, or the one predicted fastest."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

from pbkd.errors import PLUGIN_FAILURES, ScheduleError
from pbkd.models.weights import fingerprint
from pbkd.planning.cost_model import makespan
from pbkd.planning.scheduler_call import ask_scheduler
from pbkd.plugin.attribution import describe_failure
from pbkd.training.activation_cache import cache_bytes, cache_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.core.blocks import Block, BlockCost
    from pbkd.core.schedule import Schedule, Worker
    from pbkd.core.workload import Workload
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Scheduler
    from pbkd.training.task import DistillationTask


__all__ = ["Choice", "cache_name", "cache_obstacle", "choose_schedule", "schedulers"]


@dataclass(frozen=True)
class Choice:
    """The selected schedule.

    Attributes:
        scheduler: Name of the scheduler.
        schedule: Its schedule.
        seconds: The predicted makespan.
        why: Why it was selected; empty if there was no choice.
    """

    scheduler: str
    schedule: Schedule
    seconds: float
    why: str


def schedulers(choice: Mapping[str, Any], registry: Registry) -> dict[str, Scheduler]:
    """Return the schedulers to select from, by name: every installed one for `auto`."""
    if choice["name"] != "auto":
        scheduler = registry.create("scheduler", choice)
        return {scheduler.name: scheduler}
    names = registry.strategies["scheduler"]
    return {name: registry.create("scheduler", {"name": name}) for name in names}


def choose_schedule(
    candidates: Mapping[str, Scheduler],
    costs: Sequence[BlockCost],
    workers: Sequence[Worker],
    workload: Workload,
    *,
    obstacle: str | None,
) -> Choice:
    """Ask schedulers for a schedule and select the one with the least predicted seconds.

    A scheduler that raises or returns an invalid schedule does not affect the others.

    Args:
        candidates: The schedulers, by name.
        costs: Costs per step, in the order of the chain.
        workers: The workers, ordered by rank.
        workload: The training steps.
        obstacle: Why no activation cache can be used; None if one can. With an obstacle, a
            scheduler that would use one all the same is dropped; a single one is asked again
            without a cache, and its schedule is changed to the recompute feed if need be.

    Returns:
        The selected schedule.

    Raises:
        ScheduleError: If no candidate returns a valid schedule.
    """
    choices = []
    failures = []
    asked = workload if obstacle is None else replace(workload, cache_bytes=None)
    for name, scheduler in candidates.items():
        why = ""
        try:
            schedule = ask_scheduler(scheduler, costs, workers, asked)
            if schedule.feed == "cache" and obstacle is not None:
                if len(candidates) > 1:
                    continue
                schedule = _without_cache(scheduler, costs, workers, workload)
                why = f"no cache is used: {obstacle}"
        except PLUGIN_FAILURES as error:
            failures.append(describe_failure("scheduler", scheduler, "schedule", error))
            continue
        seconds = makespan(schedule, costs, workers, workload)
        choices.append(Choice(name, schedule, seconds, why))
    if not choices:
        raise ScheduleError(f"no scheduler returned a valid schedule: {'; '.join(failures)}.")
    best = min(choices, key=lambda choice: choice.seconds)
    return best if len(candidates) == 1 else _explained(best, choices, failures)


def _without_cache(
    scheduler: Scheduler, costs: Sequence[BlockCost], workers: Sequence[Worker], workload: Workload
) -> Schedule:
    """Ask a scheduler for a schedule without a cache, or take the cache out of its schedule."""
    schedule = ask_scheduler(scheduler, costs, workers, replace(workload, cache_bytes=0))
    if schedule.feed != "cache":
        return schedule
    return type(schedule)(schedule.assigned, schedule.shared)


def _explained(best: Choice, choices: Sequence[Choice], failures: Sequence[str]) -> Choice:
    """Say that a schedule was predicted fastest, and what the others were predicted to take."""
    seconds = (f"{c.scheduler} {c.seconds:.1f} s" for c in choices if c is not best)
    others = ", ".join([*seconds, *failures])
    why = f"predicted fastest, {best.seconds:.1f} s (others: {others})"
    return replace(best, why=why)


def cache_obstacle(
    limit: float, task: DistillationTask, blocks: Sequence[Block], workers: Sequence[Worker]
) -> str | None:
    """Return why the teacher's activations cannot be cached; None if they can.

    Args:
        limit: The maximum size of the cache, in GB.
        task: Teacher and data.
        blocks: The blocks to train.
        workers: The workers that would share the cache.
    """
    if len({worker.node for worker in workers}) > 1:
        return "workers on several machines have no common disk"
    gigabytes = cache_bytes(blocks, len(task.training.train), task.dtype) / 1e9
    if task.training.augmentation.external:
        return "images passed from Python may differ from one epoch to the next"
    if task.training.augmentation.is_random:
        return "images are augmented at random: set views=1 or more, or augmentation=none"
    if gigabytes > limit:
        return f"it would need {gigabytes:.3g} GB, but cache_gigabytes is {limit:g}"
    return None


def cache_name(task: DistillationTask, blocks: Sequence[Block]) -> str:
    """Return the name of the activation cache's folder: a hash of teacher, data and blocks."""
    teacher = task.teacher
    return cache_key(
        {
            "teacher": fingerprint(teacher.network),
            "normalisation": astuple(teacher.normalization),
            "data": task.data_choice,
            "augmentation": dict(task.data.augmentation.choice) if task.fixed_views else None,
            "views": task.fixed_views or 0,
            "images": len(task.training.train),
            "labels": task.training.train.labels.tolist(),
            "cut": [[block.position, block.input_shape, block.output_shape] for block in blocks],
            "dtype": str(task.dtype),
        }
    )
