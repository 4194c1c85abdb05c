"""How far a run is, by its folder."""

from __future__ import annotations

from pathlib import Path

import torch

from pbkd.core.events import BlockTrained
from pbkd.runs.events import record_event
from pbkd.runs.progress import checkpoint_store, finished_blocks, first_epochs


def test_blocks_start_where_they_can(tmp_path: Path) -> None:
    for name, epochs in {"a": (1, 2), "b": (2, 3), "c": ()}.items():
        for epoch in epochs:
            checkpoint_store(tmp_path, "teacher-fed", name).write(epoch, {"x": torch.zeros(1)}, {})
            checkpoint_store(tmp_path, "student-fed", name).write(epoch, {"x": torch.zeros(1)}, {})
    assert first_epochs(tmp_path, "teacher-fed", "abc", 9) == {"a": 2, "b": 3, "c": 0}
    assert first_epochs(tmp_path, "student-fed", "abc", 9) == {"a": 0, "b": 0, "c": 0}
    assert first_epochs(tmp_path, "student-fed", "ab", 9) == {"a": 2, "b": 2}


def test_a_block_without_its_event_or_its_file_is_not_done(tmp_path: Path) -> None:
    event = BlockTrained(
        worker=0,
        phase="teacher-fed",
        block="a",
        job_seconds=1.0,
        losses=(1.0,),
        failure=None,
        checksum="00000000",
    )
    record_event(tmp_path, "rank0", event)
    assert finished_blocks(tmp_path, "teacher-fed") == {}
    (tmp_path / "teacher-fed").mkdir()
    (tmp_path / "teacher-fed" / "a.safetensors").write_bytes(b"x")
    assert finished_blocks(tmp_path, "teacher-fed") == {}
