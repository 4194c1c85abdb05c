"""Which schedule a run takes: the one asked for, or of all installed the one predicted fastest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.core.schedule import check_schedule
from pbkd.errors import PLUGIN_FAILURES, ScheduleError
from pbkd.models.weights import fingerprint
from pbkd.planning.cost_model import makespan
from pbkd.plugin.attribution import failure_of
from pbkd.training.activation_cache import cache_bytes, cache_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.config.schema import RunConfig
    from pbkd.core.blocks import Block, BlockCost
    from pbkd.core.schedule import Schedule, Worker
    from pbkd.planning.plan import Workload
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Scheduler
    from pbkd.training.task import DistillationTask


__all__ = ["Choice", "cache_name", "cache_obstacle", "choose_schedule", "schedulers"]


@dataclass(frozen=True)
class Choice:
    """A schedule, the scheduler it came from, its predicted seconds, and why it was taken."""

    scheduler: str
    schedule: Schedule
    seconds: float
    why: str


def schedulers(config: RunConfig, registry: Registry) -> dict[str, Scheduler]:
    """Return the schedulers to choose from, by name: one, or for `auto` every installed one."""
    if config.scheduler["name"] != "auto":
        scheduler = registry.create("scheduler", config.scheduler)
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
    """Return the schedule with the least predicted seconds.

    Where there is an `obstacle` to a cache, schedules that need one run the teacher instead.
    One that fails, or whose schedule is wrong, is passed over; `ScheduleError` if none is left.
    """
    choices = []
    broken = []
    for name, scheduler in candidates.items():
        try:
            # In tuples nobody can reorder or drop what the next scheduler is asked about.
            schedule = scheduler.schedule(tuple(costs), tuple(workers))
            check_schedule(schedule, costs, len(workers))
        except PLUGIN_FAILURES as error:
            broken.append(failure_of("scheduler", scheduler, "schedule", error))
            continue
        why = ""
        if schedule.feed == "cache" and obstacle is not None:
            if len(candidates) > 1:
                continue
            schedule = type(schedule)(schedule.assigned, schedule.shared)
            why = f"no cache is used: {obstacle}"
        seconds = makespan(schedule, costs, workers, workload)
        choices.append(Choice(name, schedule, seconds, why))
    if not choices:
        raise ScheduleError(f"there is no schedule: {'; '.join(broken)}.")
    best = min(choices, key=lambda choice: choice.seconds)
    if len(candidates) == 1:
        return best
    others = ", ".join(
        [*(f"{c.scheduler} {c.seconds:.1f} s" for c in choices if c is not best), *broken]
    )
    why = f"predicted fastest, {best.seconds:.1f} s (others: {others})"
    return Choice(best.scheduler, best.schedule, best.seconds, why)


def cache_obstacle(
    config: RunConfig, task: DistillationTask, blocks: Sequence[Block], workers: Sequence[Worker]
) -> str | None:
    """Say why activations cannot be cached, with the size it would take; None if they can."""
    if len({worker.node for worker in workers}) > 1:
        return "workers on several machines share no disk"
    gigabytes = cache_bytes(blocks, len(task.training.train), task.dtype) / 1e9
    if task.training.augmentation.external:
        return "images that a program gives may differ from one epoch to the next"
    if task.training.augmentation.is_random:
        return "images are augmented at random: set views=1 or more, or data.crop=0 data.flip=false"
    if gigabytes > config.cache_gigabytes:
        return (
            f"it would take {gigabytes:.3g} GB, and cache_gigabytes is {config.cache_gigabytes:g}"
        )
    return None


def cache_name(config: RunConfig, task: DistillationTask, blocks: Sequence[Block]) -> str:
    """Return the folder name of this teacher's, these data's and this cut's cache."""
    teacher = task.teacher
    return cache_key(
        {
            "teacher": fingerprint(teacher.network),
            "normalisation": [teacher.mean, teacher.std],
            "data": config.data,
            "views": [config.views, config.seed] if config.views else 0,
            "images": len(task.training.train),
            "labels": task.training.train.labels.tolist(),
            "cut": [[block.position, block.input_shape, block.output_shape] for block in blocks],
            "dtype": str(task.dtype),
        }
    )
