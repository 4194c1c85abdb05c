from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pbkd.assignment import Assignment, read_assignment, write_assignment
from pbkd.errors import RunFolderError
from pbkd.plan import Block, BlockCost, Job, Plan, PlannedBlock, Schedule, Worker

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS = [Block(name, at, (3, 8, 8), (4, 8, 8)) for at, name in enumerate(["a", "b", "c", "d"])]
WORKERS = (Worker(0, "cpu", 2, 1.0), Worker(1, "cuda:1", 1, 0.5))


def plan(schedule: Schedule, untrained: str = "") -> Plan:
    blocks = tuple(
        PlannedBlock(
            block,
            "no dense convolution" if block.name == untrained else None,
            *(10, 5, 100, 50),
            None if block.name == untrained else BlockCost(block.name, 0.1, 0.2, 0.3),
        )
        for block in BLOCKS
    )
    return Plan(blocks, WORKERS, schedule, steps=10, seconds=1.0)


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule((((Job(("a", "c"))), Job(("b",))), (Job(("d",)),))),
        Schedule(((), ()), (Job(("d",)), Job(("c", "b")), Job(("a",)))),
        Schedule(((Job(("a",)),), ()), (Job(("b", "c", "d")),)),
    ],
)
def test_workers_read_what_the_host_wrote(tmp_path: Path, schedule: Schedule) -> None:
    write_assignment(tmp_path, plan(schedule))
    assert read_assignment(tmp_path) == Assignment(
        WORKERS, schedule, {block.name: block for block in BLOCKS}
    )


def test_a_block_without_replacement_is_nobodys_work(tmp_path: Path) -> None:
    schedule = Schedule(((Job(("a", "d")),), (Job(("c",)),)))
    write_assignment(tmp_path, plan(schedule, untrained="b"))
    assert list(read_assignment(tmp_path).blocks) == ["a", "c", "d"]


def test_the_assignment_is_plain_json(tmp_path: Path) -> None:
    write_assignment(tmp_path, plan(Schedule(((Job(("a",)),), ()), (Job(("b",)),))))
    data = json.loads((tmp_path / "assignment.json").read_text())
    assert data["workers"][1] == {"rank": 1, "device": "cuda:1", "threads": 1, "speed": 0.5}
    assert (data["assigned"], data["shared"]) == ([[["a"]], []], [["b"]])


def test_a_folder_without_an_assignment_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"there is no '.*assignment\.json'"):
        read_assignment(tmp_path)


@pytest.mark.parametrize(
    "content", ["{", "[]", "null", "{}", '{"workers": [{"rnak": 0}], "blocks": [{}]}']
)
def test_a_damaged_assignment_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "assignment.json").write_text(content)
    with pytest.raises(
        RunFolderError, match=r"assignment\.json' (cannot be read|is no assignment)"
    ):
        read_assignment(tmp_path)


def test_an_assignment_of_another_version_is_told(tmp_path: Path) -> None:
    write_assignment(tmp_path, plan(Schedule(((Job(("a",)),), ()))))
    file = tmp_path / "assignment.json"
    for old, new in [('"speed"', '"pace"'), ('"position"', '"index"'), ('"shared"', '"queue"')]:
        text = file.read_text()
        file.write_text(text.replace(old, new))
        with pytest.raises(RunFolderError, match="is no assignment of this version of pbkd"):
            read_assignment(tmp_path)
        file.write_text(text)
