"""Long runs, and many runs in one process, hold no more at their end than at their beginning."""

from __future__ import annotations

import gc
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pbkd.config.load import load_config
from pbkd.errors import PbkdError
from pbkd.models.student_loading import load_student
from pbkd.pipeline.run import run
from pbkd.plugin.registry import Registry
from tests.soak.leaks import FEEDS, growths
from tests.soak.preloaded import Preloaded
from tests.soak.short_run import tiny_settings


def held() -> dict[str, int]:
    """Count what this process holds: tensors, open files, threads, temporary files."""
    gc.collect()
    return {
        "tensors": sum(type(found) is torch.Tensor for found in gc.get_objects()),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "temporary": len(list(Path(tempfile.gettempdir()).iterdir())),
    }


def growth_in(action: Callable[[], object], times: int) -> dict[str, int]:
    """Return what is held more after `times` further calls than after the first."""
    action()
    before = held()
    for _ in range(times):
        action()
    after = held()
    return {name: after[name] - before[name] for name in before if after[name] > before[name]}


@pytest.fixture(autouse=True)
def _temporary_files(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place))


def test_loading_and_failing_again_and_again_holds_nothing(
    registry: Registry, finished: Path, tmp_path: Path
) -> None:
    def fail() -> None:
        with pytest.raises(PbkdError):
            run(load_config(["builder.name=missing", f"out={tmp_path}"]), registry)

    assert growth_in(lambda: load_student(finished), 5) == {}
    assert growth_in(fail, 3) == {}


@pytest.mark.slow
def test_runs_in_one_process_hold_nothing(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for most in ("_MOST_KEPT", "_MOST_WHOLE"):  # of the tensors that are kept on purpose
        monkeypatch.setattr(f"pbkd_low_rank.{most}", 1)
    config = load_config([*tiny_settings(tmp_path), "workers=1"])
    assert growth_in(lambda: run(config, registry), 3) == {}


@pytest.mark.slow
@pytest.mark.parametrize("feed", FEEDS)
def test_memory_files_and_threads_are_flat(feed: str, preloaded: Preloaded, place: Path) -> None:
    changes = ["plugins=[]", "workers=2", *FEEDS[feed]]
    epochs = 400 if feed == "cache" else 100  # epochs from the cache are short
    changes += [f"distill.epochs={epochs}", "distill.student_fed_epochs=240", "finetune.epochs=50"]
    found = growths(preloaded, place, [*tiny_settings(place), *changes], pause=0.02)
    assert {growth.phase for growth in found} == {"teacher-fed", "student-fed", "fine-tuning"}
    assert [str(growth) for growth in found if not growth.is_flat] == []
