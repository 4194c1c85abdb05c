from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from pbkd.core.blocks import BlockCost
from pbkd.core.schedule import Worker
from pbkd.core.workload import Workload
from pbkd.errors import ScheduleError
from pbkd.planning.cluster import Cluster, Nodes
from pbkd.planning.cost_files import CostTable
from pbkd.planning.phase_prediction import SecondsOf, modelled_on
from pbkd.planning.prediction import Prediction, fastest, predict_schedulers
from pbkd.planning.run_work import Loading, RunWork, SharedPass
from pbkd.planning.simulation.scaling import simulated_on
from pbkd.planning.whole_run import WholeRun, whole_runs
from pbkd.plugin.registry import build_registry
from pbkd.testing import tiny_costs

REGISTRY = build_registry()
SCHEDULERS: dict[str, Callable[[], Any]] = {
    name: partial(REGISTRY.create, "scheduler", {"name": name})
    for name in REGISTRY.strategies["scheduler"]
}
COSTS = tuple(tiny_costs(16))
TRAINING = BlockCost("student", 0.0, 0.1, 0.3, parameter_bytes=10**7, exchanges=20)
RUN = RunWork(
    planning_seconds=5.0,
    start_seconds=2.5,
    build_seconds=0.5,
    loading=Loading(own_seconds=0.001),
    student_fed=COSTS,
    student_fed_steps=5_000,
    passes=(
        SharedPass(phase="scoring", cost=BlockCost("student", 0.0, 2.0, 0.0), steps=40),
        SharedPass(
            phase="fine-tuning",
            cost=TRAINING,
            steps=20_000,
            loads_whole_batches=True,
            is_shared=True,
        ),
        SharedPass(phase="evaluation", cost=BlockCost("student", 0.0, 0.1, 0.0), steps=160),
    ),
    serial={"recalibration": 4.0, "evaluation": 2.0},
)
TABLE = CostTable("tiny", COSTS, Workload(10_000, 10_000), RUN)
FAST = Cluster((Nodes("server", devices=8, bandwidth=1e11, latency=1e-5),))


def fastest_on(cluster: Cluster, *counts: int) -> list[Prediction]:
    rows = []
    for count in counts:
        workers = [device.worker for device in cluster.devices(count)]
        found = predict_schedulers(TABLE.costs, workers, TABLE.workload, SCHEDULERS)
        rows.append(fastest(found)[0])
    return rows


def runs_on(cluster: Cluster, *counts: int) -> list[WholeRun]:
    on: Callable[[Sequence[Worker]], SecondsOf] = partial(simulated_on, cluster)
    return whole_runs(TABLE, fastest_on(cluster, *counts), SCHEDULERS, on)


def test_eight_workers_with_fast_links_are_nearly_eight_times_as_fast() -> None:
    one, eight = runs_on(FAST, 1, 8)
    assert one.speedup == 1
    assert 6 < eight.speedup < 8
    assert eight.speedup == one.seconds / eight.seconds
    for phase in ("teacher-fed", "student-fed", "fine-tuning"):
        assert eight.phases[phase] < one.phases[phase] / 5
    assert eight.phases["planning"] == one.phases["planning"] == 5.0
    assert eight.phases["evaluation"] > 2.0  # the latencies
    assert eight.serial == one.serial
    scoring, evaluation = 40 * 2.001, 160 * 0.101 + 2.0
    assert one.serial == pytest.approx(
        {"planning": 5.0, "scoring": scoring, "recalibration": 4.0, "evaluation": evaluation}
    )
    assert eight.speedup < one.seconds / sum(one.serial.values())  # Amdahl's bound


def test_slow_links_cost_fine_tuning_most() -> None:
    slow = Cluster((Nodes("machine", count=8, bandwidth=1e8, latency=2e-3),))
    fast, eight = runs_on(FAST, 8)[0], runs_on(slow, 8)[0]
    lost = {phase: eight.phases[phase] - fast.phases[phase] for phase in fast.phases}
    assert max(lost, key=lambda phase: lost[phase]) == "fine-tuning"
    exchanged = 2 * 10**7 / 1e8 + 20 * 2e-3
    assert eight.phases["fine-tuning"] == pytest.approx(
        3.0 + 20_000 * (0.4 / 8 + exchanged + 0.001)
    )


def test_a_slower_worker_gets_fewer_rows() -> None:
    mixed = Cluster((*FAST.nodes, Nodes("old", speed=0.5, bandwidth=1e11, latency=1e-5)))
    equal, more = runs_on(mixed, 8, 9)
    assert equal.phases["fine-tuning"] / 1.1 < more.phases["fine-tuning"]
    assert more.phases["fine-tuning"] < equal.phases["fine-tuning"]


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_simulation_of_equal_workers_agrees_with_the_cost_model(count: int) -> None:
    plain = Cluster((Nodes("worker", count=8, bandwidth=1e9, latency=1e-4),))
    (simulated,) = runs_on(plain, count)
    (modelled,) = whole_runs(TABLE, fastest_on(plain, count), SCHEDULERS, modelled_on)
    assert simulated.phases == pytest.approx(modelled.phases)


def test_without_a_scheduler_for_the_student_fed_phase_it_says_so() -> None:
    rows = fastest_on(FAST, 2)
    others = {name: make for name, make in SCHEDULERS.items() if name != "pipeline"}
    with pytest.raises(ScheduleError, match="needs the scheduler 'pipeline'"):
        whole_runs(TABLE, rows, others, modelled_on)
    unfed = replace(TABLE, run=replace(RUN, student_fed_steps=0))
    assert whole_runs(unfed, rows, others, modelled_on)[0].phases["student-fed"] == 0
