"""Disks that are full, folders that cannot be written or that vanish: each is one sentence."""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from pbkd import cli
from pbkd.core.blocks import Block
from pbkd.core.events import BlockScored, BlockTrained, EpochDone, Event, Note, PlanMade
from pbkd.errors import CacheError, RunFolderError
from pbkd.runs.events import record_event
from pbkd.training.activation_cache import ActivationCache, CacheSpec
from pbkd.training.cache_filling import open_cache
from tests.few_digits import few_digits

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKS = [Block("one", 0, (2, 3, 3), (3, 2, 2))]
ROWS = 4
SHORT = [
    "threads=1",
    "keep=[stem*, head*, conv1*, conv2*, conv3_1]",
    "distill.epochs=2",
    "distill.student_fed_epochs=1",
    "finetune.epochs=1",
    "target.block_drop=100",
    "meters=[]",
]


def _no_space(*_args: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _open(folder: Path) -> ActivationCache:
    chain = nn.Sequential(nn.Conv2d(2, 3, 2)).requires_grad_(False)
    share = [(slice(0, ROWS), torch.rand(ROWS, 2, 3, 3))]
    return open_cache(CacheSpec(folder, BLOCKS, ROWS), chain, share, rank=0, workers=1)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="disk space cannot be reserved here")
def test_a_cache_that_the_disk_has_no_room_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr("os.posix_fallocate", _no_space)
        with pytest.raises(CacheError) as caught:
            _open(tmp_path / "cache")
    told = f"the cache '{tmp_path / 'cache'}' cannot be opened: [Errno {errno.ENOSPC}] No space"
    assert str(caught.value).startswith(told)
    # Once there is room again, the same folder will do.
    assert _open(tmp_path / "cache").arrays.keys() == {0, 1}
    assert ActivationCache.load(CacheSpec(tmp_path / "cache", BLOCKS, ROWS))


def test_a_cache_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    # Permissions do not stop root, so files are where folders are needed.
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "cache"):
        with pytest.raises(CacheError, match=f"the cache '{folder}' cannot be opened: "):
            _open(folder)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_an_event_that_the_disk_has_no_room_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = os.open("/dev/full", os.O_RDWR)
    monkeypatch.setattr(os, "open", lambda *_: full)
    monkeypatch.setattr(stat, "S_ISREG", lambda _mode: True)
    with pytest.raises(RunFolderError, match=r"rank0\.jsonl' cannot be written: No space left"):
        record_event(tmp_path, "rank0", Note(text="begun"))


@pytest.fixture
def told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return a function that starts a run, which must fail, and returns its one sentence."""

    def start(*overrides: str) -> str:
        arguments = [
            "pbkd",
            "run",
            "--quiet",
            *SHORT,
            *few_digits(tmp_path),
            f"out={tmp_path / 'runs'}",
            *overrides,
        ]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert (ended.value.code, out) == (2, "")
        assert err.startswith("pbkd: ")
        assert err.endswith(".\n")
        assert err.count("\n") == 1
        return err.removeprefix("pbkd: ").rstrip()

    return start


@pytest.mark.parametrize(
    "file",
    [
        "config.yaml",
        "initial/conv3_2.safetensors",
        "teacher-fed/conv3_2.safetensors",
        "student-fed/conv3_2.safetensors",
        "student/model.safetensors",
        "student/config.json",
        "result.json",
        "README.md",
    ],
)
def test_a_disk_that_is_full_ends_a_run_with_one_sentence(
    told: Callable[..., str], monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if str(target).endswith(file):
            _no_space()
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    sentence = told()
    assert sentence.endswith(f"{file}' cannot be written: No space left on device.")
    target = Path(sentence.split("'")[1])
    assert not target.exists()
    assert not list(target.parent.glob(".*.partial"))


@pytest.mark.parametrize("moment", [PlanMade, EpochDone, BlockTrained, BlockScored])
def test_a_run_folder_that_vanishes_is_told(
    told: Callable[..., str], monkeypatch: pytest.MonkeyPatch, moment: type[Event]
) -> None:
    folders: list[Path] = []

    def show(event: Event) -> None:
        if isinstance(event, PlanMade):
            folders.append(Path(event.folder))
        if isinstance(event, moment) and len(folders) == 1:
            # A rename is one step, which a worker that writes meanwhile cannot disturb.
            folders.append(folders[0].rename(folders[0].with_name("elsewhere")))

    monkeypatch.setattr("pbkd.report.console.show.shown", lambda **_: nullcontext(show))
    sentence = told()
    assert sentence.startswith(f"'{folders[0]}' was deleted or moved while its run needed it (")
    assert (folders[1] / "config.yaml").exists()
