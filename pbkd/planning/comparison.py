"""Comparison of schedulers on the same workers, with a bound that no schedule can beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pbkd.core.files import write_json
from pbkd.planning.cost_files import workload_data
from pbkd.planning.cost_model import worker_seconds
from pbkd.planning.prediction import Prediction, predict_schedulers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Worker
    from pbkd.core.workload import Workload
    from pbkd.planning.cost_files import CostTable
    from pbkd.planning.prediction import Unpredicted
    from pbkd.protocols import Scheduler


__all__ = ["Comparison", "compare_schedulers", "imbalance", "least_seconds", "write_comparisons"]


@dataclass(frozen=True)
class Comparison:
    """The rows of several schedulers for the same workers.

    Attributes:
        workers: The workers, ordered by rank.
        least_seconds: The seconds that no schedule can beat.
        rows: A prediction per scheduler, or why there is none.
    """

    workers: tuple[Worker, ...]
    least_seconds: float
    rows: tuple[Prediction | Unpredicted, ...]


def compare_schedulers(
    table: CostTable,
    workers: Sequence[Worker],
    schedulers: Mapping[str, Callable[[], Scheduler]],
) -> Comparison:
    """Ask schedulers for a schedule for the same workers.

    Args:
        table: Costs per step and the workload.
        workers: The workers, which may differ in speed and links.
        schedulers: A factory for each scheduler, by name.

    Raises:
        ConfigError: If all costs are zero.
    """
    rows = predict_schedulers(table.costs, workers, table.workload, schedulers)
    least = least_seconds(table.costs, workers, table.workload)
    return Comparison(tuple(workers), least, tuple(rows))


def least_seconds(
    costs: Sequence[BlockCost], workers: Sequence[Worker], workload: Workload
) -> float:
    """Return a lower bound on the makespan of every schedule, of any feed.

    All blocks are trained in all steps, and the teacher sees every distinct image once. The bound
    is this work, spread over all workers by their speeds, without any transfer or idle time.
    """
    training = sum(cost.train_seconds for cost in costs) * workload.steps
    teacher = max(cost.prefix_seconds + cost.teacher_seconds for cost in costs)
    distinct = min(workload.distinct_steps, workload.steps)
    return (training + teacher * distinct) / sum(worker.speed for worker in workers)


def imbalance(prediction: Prediction, costs: Sequence[BlockCost]) -> float:
    """Return by which share the busiest worker's seconds per step exceed the mean of all."""
    busy = worker_seconds(prediction.schedule, costs, prediction.workers)
    return max(busy) * len(busy) / sum(busy) - 1 if any(busy) else 0.0


def write_comparisons(path: Path, table: CostTable, comparisons: Sequence[Comparison]) -> None:
    """Write the assumptions and every row to a JSON file."""
    rows = [
        {**row.to_dict(), **_ratios(comparison, row, table.costs)}
        for comparison in comparisons
        for row in comparison.rows
    ]
    head = {"format": 1, "about": table.about, **workload_data(table.workload)}
    write_json(path, {**head, "comparisons": rows})


def _ratios(
    comparison: Comparison, row: Prediction | Unpredicted, costs: Sequence[BlockCost]
) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "speeds": [worker.speed for worker in comparison.workers],
        "least_seconds": comparison.least_seconds,
    }
    if isinstance(row, Prediction):
        figures["over_least"] = row.seconds / comparison.least_seconds
        figures["imbalance"] = imbalance(row, costs)
    return figures
