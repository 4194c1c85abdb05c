"""A run that was stopped anywhere gives, once it is resumed, what it would have given."""

from __future__ import annotations

import hashlib
import shutil
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from pbkd.config.load import load_config
from pbkd.core.events import BlockTrained, CheckpointDamaged, EpochDone, Event
from pbkd.core.files import write_file
from pbkd.errors import IdentityError, RunFolderError
from pbkd.pipeline.run import run
from pbkd.runs.events import read_events
from pbkd.runs.folder import is_finished, newest_run
from pbkd.runs.lock import is_held, locked
from tests.few_digits import few_digits

if TYPE_CHECKING:
    from pbkd.core.results import RunResult
    from pbkd.plugin.registry import Registry


class Crash(BaseException):
    """What a test raises where a process would have been killed."""


@pytest.fixture(autouse=True)
def _checkpoints_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbkd.training.checkpoint.STEPS_BETWEEN", 1)


def settings(out: Path) -> list[str]:
    return [
        f"out={out}", "threads=1", "distill.epochs=3", "distill.student_fed_epochs=3",
        "finetune.epochs=3", "batch_size=128", *few_digits(out.parent, training=300), "meters=[]",
        "keep=[head*,conv1_*]",
    ]  # fmt: skip


def digests(folder: Path) -> dict[str, str]:
    """Return a digest of every file of weights that a run leaves."""
    files = [path for path in folder.rglob("*.safetensors") if "checkpoints" not in path.parts]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


# Of 4 blocks: 4 first weights, then of each phase 8 checkpoints and 4 results, then 2 and 1.
MOMENTS = (4, 13, 22, 30)


@pytest.fixture(scope="module")
def run_and_copies(
    registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunResult, dict[int, Path]]:
    """An undisturbed run, and its folder as a kill would leave it at each of the moments.

    A moment is the number of files of weights and checkpoints written before.
    """
    out, home = tmp_path_factory.mktemp("undisturbed"), tmp_path_factory.mktemp("copies")
    copies: dict[int, Path] = {}
    moments = count()

    def write(path: Path, content: bytes) -> None:
        if (moment := next(moments)) in MOMENTS:
            folder = newest_run(out)
            copies[moment] = Path(shutil.copytree(folder, home / str(moment) / folder.name))
        write_file(path, content)

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pbkd.training.checkpoint.STEPS_BETWEEN", 1)
        patch.setattr("pbkd.models.weights.write_file", write)
        patch.setattr("pbkd.training.checkpoint.write_file", write)
        return run(load_config(settings(out)), registry), copies


@pytest.fixture
def undisturbed(run_and_copies: tuple[RunResult, dict[int, Path]]) -> RunResult:
    return run_and_copies[0]


def crash_at(
    written: int, out: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, *changes: str
) -> Path:
    """Run until that many files of weights and checkpoints are written."""
    left = iter(range(written))

    def write(path: Path, content: bytes) -> None:
        if next(left, None) is None:
            raise Crash
        write_file(path, content)

    with monkeypatch.context() as patch:
        patch.setattr("pbkd.models.weights.write_file", write)
        patch.setattr("pbkd.training.checkpoint.write_file", write)
        with pytest.raises(Crash):
            run(load_config([*settings(out), *changes]), registry)
    return newest_run(out)


def resumed(folder: Path, registry: Registry, *changes: str) -> tuple[RunResult, list[Event]]:
    events: list[Event] = []
    config = load_config(list(changes), file=folder / "config.yaml")
    return run(config, registry, events.append, resume=folder), events


def assert_same(result: RunResult, undisturbed: RunResult) -> None:
    assert digests(Path(result.folder)) == digests(Path(undisturbed.folder))
    assert result.accuracies == undisturbed.accuracies
    for found, wanted in zip(result.blocks, undisturbed.blocks, strict=True):
        assert found.teacher_fed_losses == wanted.teacher_fed_losses
        assert found.student_fed_losses == wanted.student_fed_losses
        assert found.solo_drop == wanted.solo_drop


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_is_resumed_gives_what_it_would_have_given(
    moment: int,
    registry: Registry,
    undisturbed: RunResult,
    run_and_copies: tuple[RunResult, dict[int, Path]],
    tmp_path: Path,
) -> None:
    copied = run_and_copies[1][moment]
    folder = Path(shutil.copytree(copied, tmp_path / copied.name))
    assert not is_finished(folder)
    result, events = resumed(folder, registry)
    assert result.folder == str(folder)
    assert is_finished(folder)
    assert_same(result, undisturbed)
    epochs = [(e.phase, e.block, e.epoch) for e in events if isinstance(e, EpochDone)]
    assert len(set(epochs)) == len(epochs)
    assert any("resumed 1 time" in note for note in result.notes)
    assert not (folder / "checkpoints").exists()


def test_a_run_that_is_stopped_before_training_cannot_be_resumed(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = crash_at(2, tmp_path, registry, monkeypatch)
    with pytest.raises(RunFolderError, match="stopped before training began"):
        resumed(folder, registry)


def test_a_damaged_checkpoint_or_result_is_told_of_and_not_used(
    registry: Registry, undisturbed: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = crash_at(4 + 8 + 2, tmp_path, registry, monkeypatch)
    finished = sorted((folder / "teacher-fed").glob("*.safetensors"))
    assert len(finished) == 2
    finished[0].write_bytes(finished[0].read_bytes()[:-1])
    newest = sorted((folder / "checkpoints" / "teacher-fed").glob("*.2.safetensors"))
    assert len(newest) == 4
    for path, at in zip(newest, (100, -3), strict=False):
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)
    newest[2].write_bytes(newest[2].read_bytes()[:99])
    initial = sorted((folder / "initial").glob("*.safetensors"))
    initial[0].unlink()
    initial[1].write_bytes(initial[2].read_bytes())
    result, events = resumed(folder, registry)
    assert_same(result, undisturbed)
    damaged = [e.reason for e in read_events(folder) if isinstance(e, CheckpointDamaged)]
    assert len(damaged) == 3
    assert all("is damaged" in why or "is not a whole checkpoint" in why for why in damaged)
    assert {e.block for e in events if isinstance(e, BlockTrained)} >= {p.stem for p in finished}
    rebuilt = [note for note in result.notes if "were damaged and were built again" in note]
    assert len(rebuilt) == 2


def test_what_would_change_the_result_is_refused(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = crash_at(6, tmp_path, registry, monkeypatch)
    for change, message in (
        ("seed=1", "seed was 0 and is 1"),
        ("distill.epochs=4", "distill.epochs was 3 and is 4"),
        ("builder.share=0.3", "builder.share was not set and is 0.3"),
        ("teacher=digits-resnet", "teacher.name was digits-vgg and is digits-resnet"),
    ):
        with pytest.raises(IdentityError, match=message):
            resumed(folder, registry, change)


@pytest.mark.slow
def test_other_workers_and_schedulers_may_go_on(
    registry: Registry, undisturbed: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = crash_at(4 + 5, tmp_path, registry, monkeypatch, "scheduler=greedy")
    result, _ = resumed(folder, registry, "workers=2", "scheduler=pipeline")
    assert_same(result, undisturbed)


def test_two_runs_never_share_a_folder(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = crash_at(6, tmp_path, registry, monkeypatch)
    assert not is_held(folder)
    with locked(folder):
        assert is_held(folder)
        with pytest.raises(RunFolderError, match="another process runs in"):
            resumed(folder, registry)
