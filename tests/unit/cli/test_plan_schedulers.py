from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbkd.core.blocks import BlockCost
from pbkd.core.schedule import Worker
from pbkd.core.workload import Workload
from pbkd.errors import PbkdError
from pbkd.planning.comparison import imbalance, least_seconds
from pbkd.planning.prediction import Prediction, predict_schedulers
from pbkd.plugin.registry import build_registry
from tests.paths import PUBLISHED
from tests.unit.cli.test_plan import plan, rows

CLUSTER = """
nodes:
  - {name: fast, devices: 2, speed: 4, bandwidth: 12.5e9}
  - {name: slow, count: 2, speed: 0.5}
"""
MINE = """
import pbkd

class Mine:
    name = "mine"
    def schedule(self, costs, workers, workload):
        if len(workers) > 2:
            raise KeyError(workload.epochs)
        order = sorted(costs, key=lambda cost: cost.train_seconds)
        jobs = tuple(pbkd.Job((cost.name,)) for cost in order)
        return pbkd.Schedule(((),) * len(workers), shared=jobs)

@pbkd.hookimpl
def register_schedulers():
    return [Mine]
"""


def compare(*arguments: object) -> str:
    return plan("--costs", PUBLISHED, *arguments)


def test_a_plugins_scheduler_is_compared_on_workers_of_different_speed(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    (tmp_path / "mine.py").write_text(MINE)
    names = ["--schedulers", "greedy, mine,greedy", "--plugin", tmp_path / "mine.py"]
    files = ["--cluster", tmp_path / "cluster.yaml", "--json", tmp_path / "all.json"]
    output = compare(*names, *files, "--workers", "2,4")
    assert [row[:2] for row in rows(output)] == [[n, s] for n in "24" for s in ("greedy", "mine")]
    assert "4 worker(s), speeds 0.5 to 4: fastest: greedy (" in output
    failed = "the scheduler 'mine' of the plugin 'mine.py' failed in schedule (KeyError: 30)."
    assert failed in output
    written = json.loads((tmp_path / "all.json").read_text())["comparisons"]
    assert [row["speeds"] for row in written[1:3]] == [[4, 4], [4, 4, 0.5, 0.5]]
    assert [row["seconds"] is None for row in written] == [False, False, False, True]
    for row in written[:3]:
        assert row["over_least"] == pytest.approx(row["seconds"] / row["least_seconds"])
        assert row["over_least"] > 1
        assert row["imbalance"] >= 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--schedulers", "greedy,piplin"], "unknown scheduler 'piplin'. Did you mean 'pipeline'?"),
        (["--schedulers", "greedy,,pipeline"], "but must be names such as greedy,pipeline"),
        (["--schedulers", " "], "--schedulers is ' ', but must be names"),
        (["--schedulers", "auto"], "names 'auto', which is every scheduler"),
        (["--schedulers", "greedy", "--against", "runs/x"], "omit --schedulers"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], message: str) -> None:
    with pytest.raises(PbkdError, match=re.escape(message)):
        compare(*arguments)


SECONDS = st.floats(0.01, 10)
MAKERS = dict(build_registry().strategies["scheduler"])


@given(
    blocks=st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=6),
    speeds=st.lists(st.floats(0.25, 4), min_size=1, max_size=5),
    distinct=st.integers(1, 20),
)
def test_no_scheduler_beats_the_bound(
    blocks: list[tuple[float, float]], speeds: list[float], distinct: int
) -> None:
    costs, prefix = [], 0.0
    for index, (teacher, train) in enumerate(blocks):
        costs.append(BlockCost(f"b{index}", prefix, teacher, train, input_bytes=10**6))
        prefix += teacher
    workers = [Worker(rank, speed=speed) for rank, speed in enumerate(speeds)]
    workload = Workload(20, distinct)
    bound = least_seconds(costs, workers, workload)
    for row in predict_schedulers(costs, workers, workload, MAKERS):
        if isinstance(row, Prediction):
            assert row.seconds >= bound * (1 - 1e-9), row.scheduler
            assert imbalance(row, costs) >= -1e-9


def test_bound_and_imbalance_of_an_example() -> None:
    costs = [BlockCost("a", 0, 1, 2), BlockCost("b", 1, 1, 5)]
    workers = [Worker(0, speed=2), Worker(1)]
    assert least_seconds(costs, workers, Workload(10, 3)) == (7 * 10 + 2 * 3) / 3
    greedy = {"round-robin": MAKERS["round-robin"]}
    (row,) = predict_schedulers(costs, workers, Workload(10, 10), greedy)
    assert isinstance(row, Prediction)
    # a on the fast worker takes (1 + 2) / 2, b on the slow one 2 + 5
    assert imbalance(row, costs) == pytest.approx(7 / ((1.5 + 7) / 2) - 1)
