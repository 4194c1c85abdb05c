"""Simulation of a schedule on a cluster, with links, contention and failures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pbkd.planning.cost_model import chain_order, trained_costs, trained_seconds
from pbkd.planning.simulation.failures import with_failures
from pbkd.planning.simulation.jobs import job_ends, writing_seconds
from pbkd.planning.simulation.relay import relay_times
from pbkd.training.checkpoint import STEPS_BETWEEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Schedule
    from pbkd.core.workload import Workload
    from pbkd.planning.cluster import Device, Failures


__all__ = ["Simulation", "simulate"]

_PARTS = {
    "work": "teacher and training",
    "overhead": "overhead per step",
    "receiving": "receiving",
    "sending": "sending",
    "gradients": "all-reduce",
    "waiting": "waiting for replicas",
}


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Simulated figures of a schedule.

    Attributes:
        seconds: Duration with failures.
        undisturbed: Duration in seconds without failures.
        failures: Mean number of failures.
        busy_share: Fraction of the devices' time in which they are busy.
        joules: Energy; None if the power of a device is unknown.
        cost: Price of the devices; None if the price of a device is unknown.
        limit: The bottleneck, and the shares of its time by activity.
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
    """Simulate a schedule on a cluster.

    Args:
        schedule: A valid schedule for these devices.
        costs: Costs per step, in the order of the chain.
        devices: The device of each rank.
        workload: The training steps.
        failures: Failure rate and restart time.

    Returns:
        Seconds, energy, cost and bottleneck.

    Raises:
        ScheduleError: If failures are so frequent that the run would hardly ever end.
    """
    simulated = _relay if schedule.feed == "relay" else _jobs
    undisturbed, busy, step, limit = simulated(schedule, costs, devices, workload)
    interval = STEPS_BETWEEN * step
    seconds, failed = with_failures(undisturbed, interval, len(devices), failures)
    # Lost work is repeated; devices are idle during restarts.
    again = max(0.0, seconds - failed * failures.restart_seconds) / undisturbed
    busy = [busy_seconds * again for busy_seconds in busy]
    return Simulation(
        seconds=seconds,
        undisturbed=undisturbed,
        failures=failed,
        busy_share=min(1.0, sum(busy) / len(devices) / seconds),
        joules=_joules(devices, busy, seconds),
        cost=_cost(devices, seconds),
        limit=limit,
    )


def _relay(
    schedule: Schedule, costs: Sequence[BlockCost], devices: Sequence[Device], workload: Workload
) -> tuple[float, list[float], float, str]:
    times = relay_times(schedule, costs, devices, workload.steps)
    stage = schedule.stages[times.slowest]
    first, last = stage.job.blocks[0], stage.job.blocks[-1]
    blocks = first if first == last else f"{first} to {last}"
    replicas = f" on {len(stage.ranks)} workers" if len(stage.ranks) > 1 else ""
    seconds = {_PARTS[part]: spent for part, spent in asdict(times.parts).items()}
    seconds["waiting for links"] = times.links
    busy = [per_step * workload.steps for per_step in times.busy]
    return times.seconds, busy, max(times.busy), _limit(f"{blocks}{replicas}", seconds)


def _jobs(
    schedule: Schedule, costs: Sequence[BlockCost], devices: Sequence[Device], workload: Workload
) -> tuple[float, list[float], float, str]:
    cached = schedule.feed == "cache"
    ends = job_ends(schedule, costs, devices)
    writing = writing_seconds(costs, devices, workload) if cached else 0.0
    busy = [writing + end * workload.steps for end in ends]
    order = chain_order(costs)
    steps = {
        job: trained_seconds(trained_costs(job, costs, order), teacher=not cached)
        for job in schedule.jobs
    }
    job = max(steps, key=lambda job: steps[job])
    step = steps[job]
    training = sum(cost.train_seconds for cost in trained_costs(job, costs, order))
    other = "reading" if cached else "the teacher's pass"
    first, more = job.blocks[0], len(job.blocks) - 1
    blocks = f"{first} and {more} more" if more else first
    slowest = min(device.worker.speed for device in devices)
    limit = _limit(blocks, {other: step - training, "training": training})
    return max(busy), busy, step / slowest, limit


def _limit(bottleneck: str, seconds: dict[str, float]) -> str:
    """Describe the bottleneck, with the activities that take at least 1 % of its time."""
    whole = sum(seconds.values()) or 1.0
    shares = sorted(((spent / whole, what) for what, spent in seconds.items()), reverse=True)
    text = ", ".join(f"{what} {100 * share:.0f} %" for share, what in shares if share >= 0.01)
    return f"{bottleneck}: {text}"


def _joules(devices: Sequence[Device], busy: Sequence[float], seconds: float) -> float | None:
    total = 0.0
    for device, busy_seconds in zip(devices, busy, strict=True):
        watts, idle = device.nodes.busy_watts, device.nodes.idle_watts
        if watts is None or idle is None:
            return None
        total += watts * busy_seconds + idle * max(0.0, seconds - busy_seconds)
    return total


def _cost(devices: Sequence[Device], seconds: float) -> float | None:
    prices = [device.nodes.price for device in devices]
    known = [price for price in prices if price is not None]
    return sum(known) * seconds / 3600 if len(known) == len(prices) else None
