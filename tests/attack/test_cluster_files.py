"""Files that a hostile process of a run names to another: paths, links, files of others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pbkd.core.blocks import Block
from pbkd.core.files import write_file
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.errors import RunFolderError
from pbkd.execution.remote.folder_sync import apply_delta, pack_folder
from pbkd.execution.remote.worker_files import WorkerFiles, writable_files
from pbkd.runs.assignment import Assignment, write_assignment

BLOCKS = ("conv1", "conv2", "conv3")


def block(name: str) -> Block:
    return Block(name, BLOCKS.index(name), (3, 8, 8), (3, 8, 8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder in which rank 1 trains conv1, rank 2 conv2, and either of them conv3."""
    folder = tmp_path / "run"
    schedule = Schedule(((), (Job(("conv1",)),), (Job(("conv2",)),)), (Job(("conv3",)),))
    workers = tuple(Worker(rank) for rank in range(3))
    blocks = {name: block(name) for name in BLOCKS}
    builders = {name: {"name": "low-rank"} for name in (*BLOCKS, "conv1.1")}
    write_assignment(
        folder,
        Assignment("teacher-fed", "initial", workers, schedule, blocks, builders=builders),
    )
    for name in ("config.yaml", "events/host.jsonl", "initial/conv1.safetensors"):
        write_file(folder / name, b"{}")
    return folder


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()}


PATHS = (
    "../config.yaml", "/etc/pbkd", "a/../../b", "..", ".", "", "/", "//a", "./a", "a//b", "a/",
    "a/./b", "a\\..\\..\\b", "\\\\server\\a", "a\0b", "a\nb", "\x1b[2J", "a/\x9b31m", ".hidden",
    ".git/hooks/a", "teacher-fed/.conv1.partial", "lock", "logs/0.log", "heartbeats/7",
    "~root/.ssh/\u202ekey", "a" * 300, "a/" * 600 + "a", "teacher-fed/\ud800",
)  # fmt: skip


@pytest.mark.parametrize("content", [b"x", None])
def test_no_path_leads_out_of_the_folder(content: bytes | None, folder: Path) -> None:
    before = contents(folder)
    for name in PATHS:
        with pytest.raises(RunFolderError, match="outside of the folder"):
            apply_delta({name: content}, folder)
        assert contents(folder) == before, name


def test_no_path_leads_through_a_link_or_to_something_else_than_a_file(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "key").write_text("secret")
    (folder / "retry").symlink_to(outside)
    (folder / "best.safetensors").symlink_to(outside / "key")
    (folder / "broken.safetensors").symlink_to(outside / "new")
    os.mkfifo(folder / "events" / "rank1.jsonl")
    before = {path: path.read_bytes() for path in outside.iterdir()}
    wrong = ("retry/key", "retry/new/a", "best.safetensors", "broken.safetensors", "initial",
             "events/rank1.jsonl", "config.yaml/a")  # fmt: skip
    for name in wrong:
        for content in (b"x", None):
            with pytest.raises(RunFolderError, match=r"in the way|no regular file"):
                apply_delta({name: content}, folder)
    assert {path: path.read_bytes() for path in outside.iterdir()} == before


def test_a_link_or_a_pipe_in_the_run_folder_is_not_sent_to_others(folder: Path) -> None:
    (folder / "initial" / "key.safetensors").symlink_to("/etc/hostname")
    with pytest.raises(RunFolderError, match="a link or no regular file"):
        pack_folder(folder)
    (folder / "initial" / "key.safetensors").unlink()
    os.mkfifo(folder / "initial" / "pipe")
    with pytest.raises(RunFolderError, match="a link or no regular file"):
        pack_folder(folder)


OWN = (
    "events/rank1.jsonl", "teacher-fed/conv1.safetensors", "teacher-fed/conv1.1.safetensors",
    "teacher-fed/conv3.safetensors", "checkpoints/teacher-fed/conv1.40.safetensors",
    "checkpoints/teacher-fed/conv1.1.40.safetensors",
)  # fmt: skip
OTHERS = (
    "config.yaml", "assignment.json", "plan.json", "identity.json", "scores.json", "choice.json",
    "result.json", "blocks.csv", "README.md", "student/config.json", "student/model.safetensors",
    "events/host.jsonl", "events/launcher.jsonl", "events/rank0.jsonl", "events/rank2.jsonl",
    "events/rank1.jsonl/a", "events/rank01.jsonl", "events/Rank1.jsonl", "events/rank1.json",
    "events", "initial/conv1.safetensors", "teacher-fed/conv2.safetensors",
    "teacher-fed/conv4.safetensors", "teacher-fed/conv1.pt", "teacher-fed/conv1",
    "teacher-fed/CONV1.safetensors", "teacher-fed/x/conv1.safetensors",
    "student-fed/conv1.safetensors", "retry/conv1.safetensors",
    "checkpoints/teacher-fed/conv2.40.safetensors", "checkpoints/teacher-fed/conv1.safetensors",
    "checkpoints/teacher-fed/conv1.x.safetensors",
    "checkpoints/teacher-fed/conv1.\u0664.safetensors",
    "checkpoints/student-fed/conv1.40.safetensors", "checkpoints/conv1.40.safetensors",
    "checkpoints/fine-tuning.1.safetensors", "plugin.py", "sitecustomize.py",
)  # fmt: skip


@pytest.mark.parametrize("content", [b"x", None])
def test_a_worker_writes_and_deletes_nothing_that_is_not_its_own(
    content: bytes | None, folder: Path
) -> None:
    before = contents(folder)
    allowed = writable_files(pack_folder(folder), 1)
    for name in OTHERS:
        with pytest.raises(RunFolderError, match=r"not its own|in the way|no regular file"):
            apply_delta({name: content}, folder, allowed)
        assert contents(folder) == before, name


def test_a_worker_writes_its_own_files_and_deletes_its_own_checkpoints_only(folder: Path) -> None:
    allowed = writable_files(pack_folder(folder), 1)
    for name in OWN:
        apply_delta({name: b"x"}, folder, allowed)
        assert (folder / name).read_bytes() == b"x"
        if name.startswith("checkpoints"):
            apply_delta({name: None}, folder, allowed)
            assert not (folder / name).exists()
        else:
            with pytest.raises(RunFolderError, match="asked to delete the file"):
                apply_delta({name: None}, folder, allowed)


def test_without_an_assignment_a_worker_writes_no_events_of_others(folder: Path) -> None:
    allowed = writable_files({"config.yaml": b""}, 1)
    assert allowed == WorkerFiles(1, "", None)
    apply_delta({"seen-1": b"x"}, folder, allowed)
    with pytest.raises(RunFolderError, match="not its own"):
        apply_delta({"events/host.jsonl": b"x"}, folder, allowed)
