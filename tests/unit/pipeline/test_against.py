from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pbkd.core.blocks import BlockCost
from pbkd.core.events import BlockTrained
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.core.workload import Workload
from pbkd.errors import ConfigError, RunFolderError
from pbkd.pipeline.against import against
from pbkd.planning.cluster import Cluster, Nodes
from pbkd.planning.cost_files import CostTable
from pbkd.planning.plan import Plan
from pbkd.report.run_files import write_report
from pbkd.runs.events import record_event
from pbkd.runs.plan_files import write_plan
from tests.paths import PUBLISHED
from tests.unit.report.test_compare import RESULT

MEASURED = json.loads(PUBLISHED.read_text())
TABLE = CostTable("a teacher", (BlockCost("a", 0, 1, 2), BlockCost("b", 1, 1, 2)), Workload(10, 10))
PLAN = Plan(
    blocks=(),
    workers=(Worker(0), Worker(1)),
    schedule=Schedule(((Job(("a",)),), (Job(("b",)),))),
    workload=TABLE.workload,
    seconds=40.0,
    scheduler="greedy",
    why="",
    cache=None,
)


def runs(tmp_path: Path, **changes: Any) -> Path:
    """Write a run of one and of two workers, the first of which has every block but one."""
    blocks = MEASURED["runs"][0]["by_workers"]["4"]["blocks"]
    owned = [{**block, "worker": int(i == 1)} for i, block in enumerate(blocks)]
    two = {"blocks": owned, "total_seconds": 4000.0, **changes}
    one = {"blocks": [{**block, "worker": 0} for block in blocks], "total_seconds": 4600.0}
    run = {"setting": MEASURED["runs"][0]["setting"], "by_workers": {"1": one, "2": two}}
    (tmp_path / "runs.json").write_text(json.dumps({"runs": [run]}))
    return tmp_path / "runs.json"


def test_a_recorded_schedule_is_simulated_from_the_jobs_of_one_worker(tmp_path: Path) -> None:
    one, two = against(runs(tmp_path), None, "vgg")
    assert (one.workers, two.workers) == (1, 2)
    assert one.simulated == pytest.approx(4600.7)
    assert two.simulated == pytest.approx(4600.7 - 868.36)
    assert two.off == pytest.approx((4600.7 - 868.36) / 4000 - 1)


def test_a_cluster_says_how_much_busy_devices_slow_each_other(tmp_path: Path) -> None:
    cluster = Cluster((Nodes("server", devices=2, contention=0.1),))
    _, two = against(runs(tmp_path), cluster, None)
    assert two.simulated == pytest.approx(4600.7 - 868.36 + 0.1 * 868.36)


@pytest.mark.parametrize(
    ("changes", "setting", "message"),
    [
        ({}, "AlexNet", "has no run with total_seconds and 'AlexNet' in it"),
        ({"blocks": [{"name": "block1_conv1", "seconds": 1}]}, None, "must have the 'worker'"),
        (
            {"blocks": [{"name": f"b{i}", "seconds": 1, "worker": i} for i in range(3)]},
            None,
            "trained by 3 workers",
        ),
    ],
)
def test_records_that_cannot_be_compared_say_why(
    tmp_path: Path, changes: dict[str, Any], setting: str | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        against(runs(tmp_path, **changes), None, setting)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"runs": []}', '{"runs": [3]}'])
def test_a_file_that_holds_no_runs_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ConfigError, match="'.*x.json'"):
        against(tmp_path / "x.json", None, None)
    with pytest.raises(ConfigError, match="cannot be read"):
        against(tmp_path / "nowhere.json", None, None)


def finished(folder: Path) -> Path:
    write_plan(folder, PLAN, TABLE)
    for rank, (name, seconds) in enumerate((("a", 28.0), ("b", 42.0))):
        event = BlockTrained(
            phase="teacher-fed",
            block=name,
            worker=rank,
            job_seconds=seconds,
            losses=(1.0,),
            failure=None,
            checksum=None,
        )
        record_event(folder, f"rank{rank}", event)
    return folder


def test_a_run_is_compared_with_its_own_plan(tmp_path: Path) -> None:
    (found,) = against(finished(tmp_path), None, None)
    assert (found.what, found.workers) == ("a teacher; greedy", 2)
    assert found.simulated == 10 * (1 + 1 + 2)
    assert found.measured == pytest.approx(42, abs=1)


def test_a_finished_run_is_compared_with_the_prediction_of_all_its_phases(tmp_path: Path) -> None:
    first, *others = RESULT.phases
    phases = (first, *(replace(phase, predicted_seconds=2 * phase.seconds) for phase in others))
    folder = finished(tmp_path)
    write_report(replace(RESULT, phases=phases), folder)
    _, whole = against(folder, None, None)
    assert whole.what == f"{RESULT.teacher.name}; whole run"
    assert whole.measured == 127
    assert whole.simulated == 2 * 127 - first.seconds
    assert len(against(folder, Cluster((Nodes("here", devices=2),)), None)) == 1


def test_a_run_may_be_simulated_with_the_contention_of_a_cluster(tmp_path: Path) -> None:
    cluster = Cluster((Nodes("here", devices=2, contention=0.1),))
    (found,) = against(finished(tmp_path), cluster, None)
    assert found.simulated == pytest.approx(10 * (3 * 1.1 + 1))


def test_a_folder_without_a_plan_or_jobs_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"there is no .*plan\.json"):
        against(tmp_path, None, None)
    write_plan(tmp_path, PLAN, TABLE)
    with pytest.raises(RunFolderError, match="has no teacher-fed jobs"):
        against(tmp_path, None, None)
