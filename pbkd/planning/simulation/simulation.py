"""What a schedule takes on a cluster, with its links, its contention and its failures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pbkd.planning.cost_model import job_seconds
from pbkd.planning.simulation.failures import disturbed
from pbkd.planning.simulation.jobs import job_ends, writing_seconds
from pbkd.planning.simulation.relay import relay_times
from pbkd.training.checkpoint import STEPS_BETWEEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Schedule
    from pbkd.planning.cluster import Device, Failures
    from pbkd.planning.plan import Workload


__all__ = ["Simulation", "simulate"]

_PARTS = {
    "work": "teacher and training",
    "overhead": "what does not shrink with the batch",
    "receiving": "receiving",
    "sending": "sending",
    "gradients": "adding up gradients",
    "waiting": "waiting for each other",
}


@dataclass(frozen=True)
class Simulation:
    """The seconds of a schedule, with so many `failures`; `undisturbed` without any.

    `busy_share` is of the devices' time until then. Joules and cost are None where a device has no
    watts or no price. `limit` says who sets the pace, and what that time goes into.
    """

    seconds: float
    undisturbed: float
    failures: float
    busy_share: float
    joules: float | None
    cost: float | None
    limit: str


def simulate(
    schedule: Schedule,
    costs: Sequence[BlockCost],
    devices: Sequence[Device],
    workload: Workload,
    failures: Failures,
) -> Simulation:
    """Simulate a schedule as its workers would run it, one on each of these devices.

    Raises `ScheduleError` where devices fail so often that it would hardly ever end.
    """
    simulated = _relay if schedule.feed == "relay" else _jobs
    undisturbed, busy, step, limit = simulated(schedule, costs, devices, workload)
    interval = STEPS_BETWEEN * step
    seconds, failed = disturbed(undisturbed, interval, len(devices), failures)
    # What was lost is done again; while they restart, devices are idle.
    again = max(0.0, seconds - failed * failures.restart_seconds) / undisturbed
    busy = [own * again for own in busy]
    return Simulation(
        seconds,
        undisturbed,
        failed,
        min(1.0, sum(busy) / len(devices) / seconds),
        _joules(devices, busy, seconds),
        _cost(devices, seconds),
        limit,
    )


def _relay(
    schedule: Schedule, costs: Sequence[BlockCost], devices: Sequence[Device], workload: Workload
) -> tuple[float, list[float], float, str]:
    times = relay_times(schedule, costs, devices, workload.steps)
    stage = schedule.stages[times.slowest]
    first, last = stage.job.blocks[0], stage.job.blocks[-1]
    blocks = first if first == last else f"{first} to {last}"
    who = f" on {len(stage.ranks)} workers" if len(stage.ranks) > 1 else ""
    seconds = {_PARTS[part]: spent for part, spent in asdict(times.parts).items()}
    seconds["waiting for links"] = times.links
    busy = [own * workload.steps for own in times.busy]
    return times.seconds, busy, max(times.busy), _limit(f"{blocks}{who}", seconds)


def _jobs(
    schedule: Schedule, costs: Sequence[BlockCost], devices: Sequence[Device], workload: Workload
) -> tuple[float, list[float], float, str]:
    cached = schedule.feed == "cache"
    ends = job_ends(schedule, costs, devices)
    writing = writing_seconds(costs, devices, workload) if cached else 0.0
    busy = [writing + end * workload.steps for end in ends]
    job = max(schedule.jobs, key=lambda job: job_seconds(job, costs, teacher=not cached))
    step = job_seconds(job, costs, teacher=not cached)
    training = sum(cost.train_seconds for cost in costs if cost.name in job.blocks)
    other = "reading" if cached else "the teacher's pass"
    first, more = job.blocks[0], len(job.blocks) - 1
    who = f"{first} and {more} more" if more else first
    slowest = min(device.worker.speed for device in devices)
    limit = _limit(who, {other: step - training, "training": training})
    return max(busy), busy, step / slowest, limit


def _limit(who: str, seconds: dict[str, float]) -> str:
    """Return who sets the pace, and the shares of what takes at least a hundredth of the time."""
    whole = sum(seconds.values()) or 1.0
    shares = sorted(((spent / whole, what) for what, spent in seconds.items()), reverse=True)
    told = ", ".join(f"{what} {100 * share:.0f} %" for share, what in shares if share >= 0.01)
    return f"{who}: {told}"


def _joules(devices: Sequence[Device], busy: Sequence[float], seconds: float) -> float | None:
    total = 0.0
    for device, own in zip(devices, busy, strict=True):
        watts, idle = device.nodes.busy_watts, device.nodes.idle_watts
        if watts is None or idle is None:
            return None
        total += watts * own + idle * max(0.0, seconds - own)
    return total


def _cost(devices: Sequence[Device], seconds: float) -> float | None:
    prices = [device.nodes.price for device in devices]
    known = [price for price in prices if price is not None]
    return sum(known) * seconds / 3600 if len(known) == len(prices) else None
