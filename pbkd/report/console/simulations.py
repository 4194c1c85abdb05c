"""Tables of simulated schedules in the terminal."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.filesize import decimal

from pbkd.planning.prediction import serial_seconds
from pbkd.planning.simulation.scaling import SimulatedSchedule, fastest_simulated
from pbkd.report.console.display import open_console, print_wide
from pbkd.report.numbers import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.planning.cluster import Cluster
    from pbkd.planning.cost_files import CostTable
    from pbkd.planning.prediction import Unpredicted

__all__ = ["show_simulations"]

_HEADS = (
    "workers", "scheduler", "feed", "takes", "over the paper's", "over one pass", "efficiency",
    "idle", "joules", "cost", "failures",
)  # fmt: skip


def show_simulations(
    table: CostTable, cluster: Cluster, rows: Sequence[SimulatedSchedule | Unpredicted]
) -> None:
    """Print the assumptions, a row for every scheduler, and the fastest one's bottleneck."""
    console = open_console()
    console.print(
        f"costs: {table.about}; {len(table.costs)} blocks, {table.workload.steps:,} steps"
    )
    for nodes in cluster.nodes:
        device_bandwidth = nodes.device_bandwidth or nodes.bandwidth
        console.print(
            f"{nodes.count} x {nodes.name}: {nodes.devices} x {nodes.device}, speed"
            f" {nodes.speed:g}; {decimal(int(device_bandwidth))} per second inside,"
            f" {decimal(int(nodes.bandwidth))} between nodes"
        )
    first = cluster.devices(1)[0].worker
    paper = duration(serial_seconds(table.costs, first, table.workload))
    console.print(f"the paper's procedure on the first device, a job for each block: {paper}")
    failed = not all(isinstance(row, SimulatedSchedule) for row in rows)
    heads = (*_HEADS, "why not") if failed else _HEADS
    print_wide(heads, [_cells(row) for row in rows], left=0)
    for count, group in groupby(rows, key=_count):
        best = fastest_simulated(list(group))
        if best:
            console.print(
                f"fastest on {count:,} worker(s): {best.prediction.scheduler},"
                f" {duration(best.simulation.seconds)}; its pace: {best.simulation.limit}"
            )


def _count(row: SimulatedSchedule | Unpredicted) -> int:
    return row.workers if isinstance(row, SimulatedSchedule) else len(row.workers)


def _cells(row: SimulatedSchedule | Unpredicted) -> tuple[str, ...]:
    count = f"{_count(row):,}"
    if not isinstance(row, SimulatedSchedule):
        return (count, row.scheduler, *[""] * (len(_HEADS) - 2), row.reason)
    simulation = row.simulation
    return (
        count,
        row.prediction.scheduler,
        row.prediction.schedule.feed,
        duration(simulation.seconds),
        f"{row.over_paper:.2f}x",
        f"{row.over_single_pass:.2f}x",
        f"{100 * row.efficiency:.0f} %",
        f"{100 * (1 - simulation.busy_share):.0f} %",
        "not known" if simulation.joules is None else f"{simulation.joules:,.0f}",
        "not known" if simulation.cost is None else f"{simulation.cost:,.2f}",
        f"{simulation.failures:.2f}",
    )
