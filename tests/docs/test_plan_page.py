"""docs/plan.md: its table of whole runs is what is simulated from the costs beside it."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

from pbkd.planning.cluster import read_cluster
from pbkd.planning.cost_files import read_costs
from pbkd.planning.run_work import PHASES
from pbkd.planning.simulation.scaling import (
    SimulatedSchedule,
    fastest_simulated,
    simulate_schedulers,
    simulated_on,
)
from pbkd.planning.whole_run import PLANNING, whole_runs
from pbkd.report.numbers import duration
from tests.docs.documents import section_of, table_rows
from tests.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pbkd.planning.cluster import Cluster
    from pbkd.planning.cost_files import CostTable
    from pbkd.planning.prediction import Prediction
    from pbkd.plugin.registry import Registry

FOLDER = ROOT / "docs" / "clusters"


def fastest(
    table: CostTable, cluster: Cluster, count: int, schedulers: Mapping[str, Callable[[], Any]]
) -> Prediction:
    rows = simulate_schedulers(table, cluster, [count], schedulers)
    best = fastest_simulated([row for row in rows if isinstance(row, SimulatedSchedule)])
    assert best is not None
    return best.prediction


def test_the_table_of_whole_runs_is_what_is_simulated(registry: Registry) -> None:
    schedulers = {
        name: partial(registry.create, "scheduler", {"name": name})
        for name in ("greedy", "pipeline")
    }
    cluster = read_cluster(FOLDER / "nvlink.yaml")
    wanted = []
    for network, batch in product(("vgg16", "resnet56"), (64, 256)):
        table = read_costs(FOLDER / f"{network}-cifar10-batch{batch}.json")
        rows = [fastest(table, cluster, count, schedulers) for count in (1, 2, 8)]
        for run in whole_runs(table, rows, schedulers, partial(simulated_on, cluster)):
            phases = [
                duration(run.phases[name]) for name in (PLANNING, *PHASES) if name != "student-fed"
            ]
            times = [*phases, duration(run.seconds), f"{run.speedup:.2f}x"]
            wanted.append([network, f"{batch}", f"{run.workers}", *times])
    section = section_of((ROOT / "docs" / "plan.md").read_text(), "The whole run")
    assert table_rows(section) == wanted
