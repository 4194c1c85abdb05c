from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from pbkd.core.blocks import Block
from pbkd.core.files import write_json
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.errors import RunFolderError
from pbkd.runs.assignment import Assignment, read_assignment, write_assignment

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS = [Block(name, at, (3, 8, 8), (4, 8, 8)) for at, name in enumerate(["a", "b", "c", "d"])]
WORKERS = (Worker(0, "cpu", 2, speed=1.0), Worker(1, "cuda:1", 1, speed=0.5))


def assignment(schedule: Schedule) -> Assignment:
    blocks = {block.name: block for block in BLOCKS}
    builders: dict[str, dict[str, Any]] = {
        "a": {"name": "low-rank", "ranks": [3]},
        "a.1": {"name": "ghost"},
    }
    return Assignment("student-fed", "teacher-fed", WORKERS, schedule, blocks, builders=builders)


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule((((Job(("a", "c"))), Job(("b",))), (Job(("d",)),))),
        Schedule(((), ()), (Job(("d",)), Job(("c", "b")), Job(("a",)))),
        Schedule(((Job(("a",)),), ()), (Job(("b", "c", "d")),)),
        Schedule(((Job(("a", "b")),), (Job(("c", "d")),)), feed="relay"),
    ],
)
def test_workers_read_what_the_host_wrote(tmp_path: Path, schedule: Schedule) -> None:
    write_assignment(tmp_path, assignment(schedule))
    assert read_assignment(tmp_path) == assignment(schedule)


def test_the_assignment_is_plain_json(tmp_path: Path) -> None:
    write_assignment(tmp_path, assignment(Schedule(((Job(("a",)),), ()), (Job(("b",)),))))
    data = json.loads((tmp_path / "assignment.json").read_text())
    assert data["workers"][1] == asdict(WORKERS[1])
    assert (data["phase"], data["start"]) == ("student-fed", "teacher-fed")
    assert (data["assigned"], data["shared"]) == ([[["a"]], []], [["b"]])


def test_a_folder_without_an_assignment_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"there is no '.*assignment\.json'"):
        read_assignment(tmp_path)


@pytest.mark.parametrize(
    "content", ["{", "[]", "null", "{}", '{"workers": [{"rnak": 0}], "blocks": [{}]}']
)
def test_a_damaged_assignment_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "assignment.json").write_text(content)
    with pytest.raises(RunFolderError, match=r"assignment\.json' (cannot be read|has no checksum)"):
        read_assignment(tmp_path)


def test_an_assignment_of_another_version_is_told(tmp_path: Path) -> None:
    write_assignment(tmp_path, assignment(Schedule(((Job(("a",)),), ()))))
    file = tmp_path / "assignment.json"
    for old, new in [('"speed"', '"pace"'), ('"position"', '"index"'), ('"shared"', '"queue"')]:
        text = file.read_text()
        write_json(file, json.loads(text.replace(old, new)))
        with pytest.raises(RunFolderError, match="is not an assignment of this version of pbkd"):
            read_assignment(tmp_path)
        file.write_text(text)
