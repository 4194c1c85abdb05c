from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from pbkd.core.blocks import BlockCost
from pbkd.core.files import read_json
from pbkd.core.plain_data import to_plain
from pbkd.core.workload import Workload
from pbkd.errors import ConfigError
from pbkd.planning.cost_files import CostTable, read_costs, write_costs
from pbkd.planning.run_work import Loading, RunWork, SharedPass
from tests.paths import PUBLISHED

TABLE = CostTable(
    "a teacher on a machine",
    (BlockCost("a", 0.0, 1 / 3, 0.5, 1024, 8, 2), BlockCost("b", 1 / 3, 0.1, 0.7)),
    Workload(600, 17),
    run=RunWork(
        planning_seconds=1.5,
        start_seconds=2.5,
        build_seconds=1 / 7,
        loading=Loading(own_seconds=0.1, ahead_seconds=1 / 9),
        student_fed=(BlockCost("b", 1 / 3, 0.1, 0.9),),
        student_fed_steps=30,
        passes=(SharedPass(phase="scoring", cost=BlockCost("student", 0.0, 0.2, 0.0), steps=1.25),),
        serial={"recalibration": 0.5},
    ),
)
RUN = to_plain(TABLE.run)


def changed(tmp_path: Path, **changes: Any) -> Path:
    """Write the table with some keys of its first block (those with `block_`) or head changed."""
    write_costs(tmp_path / "costs.json", TABLE)
    tree = read_json(tmp_path / "costs.json")  # as a user writes it: without a checksum
    for key, value in changes.items():
        where = tree["blocks"][0] if key.startswith("block_") else tree
        where[key.removeprefix("block_")] = value
    (tmp_path / "costs.json").write_text(json.dumps(tree))
    return tmp_path / "costs.json"


def test_a_table_that_is_written_is_read_to_the_last_bit(tmp_path: Path) -> None:
    assert read_costs(changed(tmp_path)) == TABLE


def test_bytes_may_be_left_out(tmp_path: Path) -> None:
    path = changed(tmp_path)
    tree = json.loads(path.read_text())
    for block in tree["blocks"]:
        for key in ("input_bytes", "parameter_bytes", "exchanges"):
            del block[key]
    path.write_text(json.dumps(tree))
    assert read_costs(path).costs[0] == BlockCost("a", 0.0, 1 / 3, 0.5)


def test_whole_seconds_are_whole_numbers_too(tmp_path: Path) -> None:
    cost = read_costs(changed(tmp_path, block_train_seconds=2)).costs[0]
    assert (cost.train_seconds, type(cost.train_seconds)) == (2.0, float)


def test_a_published_record_is_read_with_its_steps(tmp_path: Path) -> None:
    table = read_costs(PUBLISHED, "VGG-16@4")
    assert table.about.endswith("record of 4 worker(s), split by MACs")
    assert (len(table.costs), table.workload.steps) == (13, 5880)
    write_costs(tmp_path / "own.json", table)
    assert read_costs(tmp_path / "own.json") == table


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "must have format 1 and the unit 'seconds per step'"),
        ({"unit": "hours"}, "must have format 1 and the unit 'seconds per step'"),
        ({"steps": 0}, "1 <= distinct_steps <= steps"),
        ({"distinct_steps": 601}, "1 <= distinct_steps <= steps"),
        ({"steps": 1.5}, "'steps' must be a whole number"),
        ({"steps": True}, "'steps' must be a whole number"),
        ({"about": ""}, "'about' must be a text"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"blocks": []}, "a list of 1 to 10,000 'blocks'"),
        ({"blocks": [3]}, "block 1 must be a mapping"),
        ({"block_name": "b"}, "two blocks of the same name"),
        ({"block_name": "a\x1b[31m"}, "'name' must be a text of 1 to 500 printable characters"),
        ({"block_train_second": 1}, "Did you mean 'train_seconds'"),
        ({"block_train_seconds": -1}, "block 1, 'train_seconds' must be a number from 0"),
        ({"block_train_seconds": math.nan}, "'train_seconds' must be a number from 0"),
        ({"block_train_seconds": math.inf}, "'train_seconds' must be a number from 0"),
        ({"block_train_seconds": "1"}, "'train_seconds' must be a number from 0"),
        ({"block_train_seconds": 10**400}, "holds an integer of more than 64 bits"),
        ({"block_input_bytes": 0.5}, "'input_bytes' must be a whole number"),
        ({"block_prefix_seconds": 9.0}, "prefix_seconds of 'b' is less than of 'a'"),
        ({"run": 1}, "'run' is not the work of a run"),
        ({"run": {**RUN, "steps": 1}}, "'run' is not the work of a run"),
        ({"run": {**RUN, "serial": {"naps": 1.0}}}, "phases that are not of this run"),
        ({"run": {**RUN, "student_fed_steps": -1}}, "'run' has a number that is out of range"),
    ],
)
def test_a_table_that_is_wrong_says_where(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_costs(changed(tmp_path, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"[]", "has neither a 'format' nor 'runs'"),
        (b'{"a": 1}', "has neither a 'format' nor 'runs'"),
        (b'{"format": 1}', "lacks about, unit, steps, distinct_steps, blocks"),
        (b" " * (8 * 2**20 + 1), "is larger than 8,388,608 bytes"),
    ],
    ids=["empty", "binary", "deep", "list", "other", "bare", "large"],
)
def test_a_file_that_is_no_table_says_so(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "costs.json").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_costs(tmp_path / "costs.json")


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_costs(tmp_path / "costs.json")


def test_a_setting_for_one_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="omit --setting"):
        read_costs(changed(tmp_path), "VGG-16")
