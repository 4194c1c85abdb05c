"""Runs that limit what the student loses, and not what it costs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from pbkd.config.load import load_config
from pbkd.core.events import EpochDone, Event, PhaseStarted
from pbkd.models.weights import read_tensors
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.runs.events import read_events
from pbkd.runs.folder import newest_run
from tests.few_digits import few_digits

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbkd.core.results import RunResult

QUICK = [
    "meters=[]", "threads=1", "distill.epochs=1", "finetune.epochs=1", "target.block_drop=100",
    "keep=[stem*, head*, conv1*, conv2*]", "builder={name: low-rank, share: 0.05}",
    "candidates=[{name: low-rank, share: 0.4}]", "target.max_drop=10",
]  # fmt: skip
NEVER = "target.max_drop=5", "distill.student_fed_epochs=1"  # of 30 images none can tell


def compressed(
    tmp_path: Path,
    *overrides: str,
    emit: Callable[[Event], None] = lambda _: None,
    resume: Path | None = None,
) -> RunResult:
    data = few_digits(tmp_path.parent, training=300)
    config = load_config([*QUICK, *data, f"out={tmp_path}", *overrides])
    return run(config, build_registry(), emit, resume=resume)


def test_the_cheapest_student_is_sought_from_cheap_to_dear(tmp_path: Path) -> None:
    result = compressed(tmp_path)
    (note,) = (note for note in result.notes if "of the MACs keeps target.max_drop=10" in note)
    share = float(re.findall(r"within (\S+) of the MACs", note)[0])
    assert result.student.macs / result.teacher.macs <= share < 1
    folder = Path(result.folder)
    assert not (folder / "points").exists()
    tried = json.loads((folder / "tries.json").read_text())["students"]
    assert tried, note
    assert [each["macs"] for each in tried] == sorted(each["macs"] for each in tried)
    assert all(each["most"] > 10 and each["macs"] < share for each in tried)
    assert [wish.key for wish in result.wishes] == ["target.max_drop"]
    assert {phase.name for phase in result.phases} >= {"student-fed", "fine-tuning"}
    assert any("needs no fine-tuning" in note for note in result.notes)


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["recalibration", "fine-tuning", "evaluation"])
def test_a_search_that_is_stopped_is_resumed_to_the_same_student(
    tmp_path: Path, phase: str
) -> None:
    whole = compressed(tmp_path / "whole", *NEVER)
    begun = 0

    def stop(event: Event) -> None:
        nonlocal begun
        begun += isinstance(event, PhaseStarted) and event.phase == phase
        if begun == (1 if phase == "evaluation" else 2):
            raise KeyboardInterrupt

    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        compressed(out, *NEVER, emit=stop)
    resumed = compressed(out, *NEVER, resume=newest_run(out))
    found, wanted = (
        read_tensors(Path(each.folder) / "student" / "model.safetensors")[0]
        for each in (resumed, whole)
    )
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    for each in (resumed, whole):
        done = [e for e in read_events(Path(each.folder)) if isinstance(e, EpochDone)]
        tuned = [event.epoch for event in done if event.phase == "fine-tuning"]
        assert tuned == [*range(1, len(tuned) + 1)]
        assert tuned or each.accuracies["fine-tuned"] is None
    tries = ((Path(each.folder) / "tries.json").read_bytes() for each in (resumed, whole))
    assert len(set(tries)) == 1
