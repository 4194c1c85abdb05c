"""docs/cluster.md: the keys of its files, and tables that are simulated."""

from __future__ import annotations

from dataclasses import MISSING, fields
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pbkd.planning.cluster import Failures, Nodes, read_cluster
from pbkd.planning.cost_files import read_costs
from pbkd.planning.simulation.scaling import SimulatedSchedule, simulate_schedulers
from pbkd.report.numbers import duration
from tests.paths import ROOT

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry

from tests.docs.documents import shown, table_rows

CLUSTER = (ROOT / "docs" / "cluster.md").read_text()


@pytest.mark.parametrize(
    ("heading", "kind"), [("`nodes` are", Nodes), ("`failures` may", Failures)]
)
def test_every_key_of_a_cluster_file_is_listed(heading: str, kind: type) -> None:
    section = CLUSTER.split(f"\n{heading}")[1].split("\n\n")[1]
    wanted = [
        [field.name, "required" if field.default is MISSING else shown(field.default)]
        for field in fields(kind)
    ]
    assert [row[:2] for row in table_rows(section)] == wanted


@pytest.mark.parametrize("cluster", ["nvlink", "ethernet"])
@pytest.mark.parametrize("network", ["vgg16", "resnet50"])
def test_the_tables_of_strong_scaling_are_what_is_simulated(
    registry: Registry, network: str, cluster: str
) -> None:
    folder = ROOT / "docs" / "clusters"
    section = CLUSTER.split(f"`{network}-imagenet.json` on `{cluster}.yaml`")[1].split("\n\n")[1]
    found = simulate_schedulers(
        read_costs(folder / f"{network}-imagenet.json"),
        read_cluster(folder / f"{cluster}.yaml"),
        [1, 2, 4, 8, 16, 32, 64],
        {"pipeline": partial(registry.create, "scheduler", {"name": "pipeline"})},
    )
    wanted = [
        [
            f"{row.workers}",
            duration(row.simulation.seconds),
            f"{row.over_paper:.2f}x",
            f"{row.over_single_pass:.2f}x",
            f"{100 * row.efficiency:.0f} %",
            f"{row.simulation.joules / 1e6:.1f} MJ",
            f"{row.simulation.cost:.2f}",
            row.simulation.limit,
        ]
        for row in found
        if isinstance(row, SimulatedSchedule) and row.simulation.joules is not None
    ]
    assert table_rows(section) == wanted
