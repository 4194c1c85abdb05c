"""What `pbkd plan --cluster` and `--against` show: rows simulated, and runs beside them."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

from rich.filesize import decimal

from pbkd.core.files import write_json
from pbkd.planning.prediction import serial_seconds
from pbkd.planning.simulation.scaling import Scaled, quickest
from pbkd.report.console.display import open_console, print_wide
from pbkd.report.gantt import duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pbkd.pipeline.against import Comparison
    from pbkd.planning.cluster import Cluster
    from pbkd.planning.cost_files import CostTable
    from pbkd.planning.prediction import Unpredicted

__all__ = ["scaling_counts", "show_against", "show_scaling", "write_scaling"]

_HEADS = (
    "workers", "scheduler", "feed", "takes", "over the paper's", "over one pass", "efficiency",
    "idle", "joules", "cost", "failures",
)  # fmt: skip


def scaling_counts(size: int) -> list[int]:
    """Return 1, 2, 4, … and all devices of a cluster."""
    return [*(2**power for power in range((size - 1).bit_length())), size]


def show_scaling(table: CostTable, cluster: Cluster, rows: Sequence[Scaled | Unpredicted]) -> None:
    """Print what was assumed, every row, and what limits the fastest of each number of workers."""
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
    failed = not all(isinstance(row, Scaled) for row in rows)
    heads = (*_HEADS, "why not") if failed else _HEADS
    print_wide(heads, [_cells(row) for row in rows], left=0)
    for count, group in groupby(rows, key=_count):
        best = quickest(list(group))
        if best:
            console.print(
                f"fastest on {count:,} worker(s): {best.prediction.scheduler},"
                f" {duration(best.simulation.seconds)}; its pace: {best.simulation.limit}"
            )


def write_scaling(
    path: Path, table: CostTable, cluster: Cluster, rows: Sequence[Scaled | Unpredicted]
) -> None:
    """Write everything that was assumed and simulated as JSON."""
    head = {"format": 1, "about": table.about, **asdict(table.workload)}
    write_json(
        path, {**head, "cluster": asdict(cluster), "simulations": [row.to_dict() for row in rows]}
    )


def show_against(rows: Sequence[Comparison]) -> None:
    """Print runs that were measured beside their simulation, and the furthest off."""
    cells = [
        (
            row.what,
            str(row.workers),
            duration(row.simulated),
            duration(row.measured),
            f"{100 * row.off:+.1f} %",
        )
        for row in rows
    ]
    print_wide(("run", "workers", "simulated", "measured", "off"), cells, left=1)
    worst = max(abs(row.off) for row in rows)
    open_console().print(f"at most {100 * worst:.1f} % off")


def _count(row: Scaled | Unpredicted) -> int:
    return row.workers if isinstance(row, Scaled) else len(row.workers)


def _cells(row: Scaled | Unpredicted) -> tuple[str, ...]:
    count = f"{_count(row):,}"
    if not isinstance(row, Scaled):
        return (count, row.scheduler, *[""] * (len(_HEADS) - 2), row.reason)
    found = row.simulation
    return (
        count,
        row.prediction.scheduler,
        row.prediction.schedule.feed,
        duration(found.seconds),
        f"{row.over_paper:.2f}x",
        f"{row.over_single_pass:.2f}x",
        f"{100 * row.efficiency:.0f} %",
        f"{100 * (1 - found.busy_share):.0f} %",
        "not known" if found.joules is None else f"{found.joules:,.0f}",
        "not known" if found.cost is None else f"{found.cost:,.2f}",
        f"{found.failures:.2f}",
    )
