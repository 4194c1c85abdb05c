from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pbkd.errors import PbkdError
from tests.paths import PUBLISHED
from tests.unit.cli.test_plan import plan, rows

CLUSTER = """
nodes:
  - {name: server, count: 2, devices: 3, device: gpu, busy_watts: 250, idle_watts: 50, price: 1.0}
failures: {per_device_hour: 0.01, restart_seconds: 30}
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    return tmp_path / "cluster.yaml"


def test_every_scheduler_is_simulated_on_the_first_devices(cluster: Path, tmp_path: Path) -> None:
    file, svg = tmp_path / "out.json", tmp_path / "out.svg"
    output = plan("--costs", PUBLISHED, "--cluster", cluster, "--json", file, "--svg", svg)
    assert "2 x server: 3 x gpu, speed 1; 1.0 GB per second inside, 1.0 GB" in output
    assert "the paper's procedure on the first device, a job for each block: 4,601 s" in output
    assert sorted({row[0] for row in rows(output)}) == ["1", "2", "4", "6"]
    (lpt,) = [row for row in rows(output) if row[:2] == ["4", "lpt-scheduler"]]
    assert lpt[2] == "recompute"
    assert lpt[6].endswith(" %") and float(lpt[-1]) > 0
    assert re.search(r"^fastest on 6 worker\(s\): pipeline, .* s; its pace: ", output, re.MULTILINE)
    written = json.loads(file.read_text())
    assert written["cluster"]["nodes"][0]["devices"] == 3
    found = {(row["workers"], row["scheduler"]): row for row in written["simulations"]}
    six = found[6, "pipeline"]
    assert six["seconds"] > six["undisturbed"] > 0
    assert six["cost"] == pytest.approx(6 * six["seconds"] / 3600)
    assert 6 * 50 * six["seconds"] < six["joules"] < 6 * 250 * six["seconds"]
    assert found[1, "cached"]["seconds"] is None
    assert "pipeline on 6 worker(s)" in (ElementTree.parse(svg).getroot()[0].text or "")


def test_runs_that_were_measured_are_compared(cluster: Path, tmp_path: Path) -> None:
    tree = json.loads(PUBLISHED.read_text())
    record = tree["runs"][0]["by_workers"]["4"]
    record["total_seconds"] = 4000
    for block in record["blocks"]:
        block["worker"] = 0
    (tmp_path / "runs.json").write_text(json.dumps(tree))
    output = plan("--cluster", cluster, "--against", tmp_path / "runs.json")
    (row,) = [line for line in output.splitlines() if line.startswith("VGG-16")]
    assert re.split(r" {2,}", row)[1:] == ["4", "4,601 s", "4,000 s", "+15.0 %"]
    assert output.splitlines()[-1] == "at most 15.0 % off"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "7"], "--workers is '7', but must be from 1 to 6 (the cluster's devices)"),
        (["--link", "1e9"], "--link cannot be combined with --cluster"),
        (["--against", "nowhere.json"], "'nowhere.json' cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence(cluster: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(PbkdError, match=re.escape(message)):
        plan("--costs", PUBLISHED, "--cluster", cluster, *arguments)


def test_a_cluster_that_is_not_there_is_told_before_anything_is_measured() -> None:
    with pytest.raises(PbkdError, match="there is no configuration file 'nowhere.yaml'"):
        plan("--cluster", "nowhere.yaml")
