from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from pbkd_trackio import TrackioObserver, register_observers

from pbkd import RunInfo, RunResult
from pbkd.runs import EpochDone, Event, PowerRead, Resumed
from pbkd.testing import record_event

if TYPE_CHECKING:
    from pathlib import Path

RESULT = cast(
    "RunResult",
    SimpleNamespace(
        teacher=SimpleNamespace(accuracy=0.9, agreement=None, parameters=20, macs=200),
        student=SimpleNamespace(accuracy=0.8, agreement=None, parameters=10, macs=100),
    ),
)
FINAL = {
    "teacher/accuracy": 0.9, "teacher/parameters": 20, "teacher/macs": 200,
    "student/accuracy": 0.8, "student/parameters": 10, "student/macs": 100,
}  # fmt: skip


def run_in(folder: Path) -> RunInfo:
    return RunInfo(folder=folder, identity={}, configuration={"workers": 2}, plan={})


def epoch(phase: str, number: int, **more: Any) -> Event:
    block = "student" if phase == "fine-tuning" else "conv1"
    return EpochDone(worker=0, phase=phase, block=block, epoch=number, loss=1 / number, **more)


EVENTS = (
    epoch("teacher-fed", 1),
    epoch("student-fed", 2),
    epoch("fine-tuning", 4, accuracy=0.75),
    PowerRead(watts={"gpu0": 250.0}),
)
LOGGED = [
    {"teacher-fed/conv1": 1.0, "epoch": 1},
    {"student-fed/conv1": 0.5, "epoch": 2},
    {"fine-tuning/loss": 0.25, "fine-tuning/accuracy": 0.75, "epoch": 4},
    {"power/gpu0": 250.0},
    FINAL,
]


def follow(observer: TrackioObserver, run: RunInfo) -> None:
    observer.run_started(run)
    for event in EVENTS:
        observer.event(event, run)
    observer.run_finished(RESULT, run)


class Wandb(ModuleType):
    """Takes what wandb 0.31 takes of what the observer passes."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.__spec__ = cast("Any", SimpleNamespace())
        self.began: list[dict[str, Any]] = []
        self.logged: list[dict[str, Any]] = []
        self.ends = 0

    def init(
        self,
        *,
        project: str | None = None,
        id: str | None = None,  # noqa: A002
        name: str | None = None,
        config: dict[str, Any] | None = None,
        resume: str | None = None,
    ) -> Wandb:
        began = {"project": project, "id": id, "name": name, "config": config, "resume": resume}
        self.began.append(began)
        return self

    def log(self, data: dict[str, Any], step: int | None = None) -> None:
        assert step is None
        self.logged.append(data)

    def finish(self, exit_code: int | None = None) -> None:
        assert exit_code is None
        self.ends += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    module = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_figures_are_logged_to_wandb(wandb: Wandb, tmp_path: Path) -> None:
    follow(TrackioObserver(package="wandb", project="mine"), run_in(tmp_path))
    (began,) = wandb.began
    assert len(began.pop("id")) == 16
    assert began == {
        "project": "mine", "name": tmp_path.name, "config": {"workers": 2}, "resume": "allow",
    }  # fmt: skip
    assert (wandb.logged, wandb.ends) == (LOGGED, 1)


def test_a_resumed_run_goes_on_with_new_epochs(wandb: Wandb, tmp_path: Path) -> None:
    for event in (epoch("teacher-fed", 1), Resumed(), epoch("student-fed", 2)):
        record_event(tmp_path, "host", event)
    for _ in range(2):
        follow(TrackioObserver(package="wandb"), run_in(tmp_path))
    assert wandb.logged == 2 * LOGGED[1:]
    assert wandb.began[0] == wandb.began[1]


def test_figures_are_logged_to_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trackio = pytest.importorskip("trackio", reason="trackio is not installed")
    from trackio import context_vars
    from trackio.sqlite_storage import SQLiteStorage

    for module in (trackio, sys.modules[SQLiteStorage.__module__], trackio.utils):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio", raising=False)
    run = run_in(tmp_path / "digits-vgg-1")
    run.folder.mkdir()
    follow(TrackioObserver(project="pbkd-test"), run)
    assert context_vars.current_project.get() == "pbkd-test"
    logged = SQLiteStorage.get_logs("pbkd-test", run.folder.name)
    figures = [{k: v for k, v in row.items() if k not in ("timestamp", "step")} for row in logged]
    assert figures == LOGGED


def test_other_packages_and_missing_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="'mlflow', but must be trackio or wandb"):
        TrackioObserver(package="mlflow")
    monkeypatch.setattr("pbkd_trackio.find_spec", lambda _name: None)
    with pytest.raises(ValueError, match="wandb is not installed: pip install wandb"):
        TrackioObserver(package="wandb")


def test_it_is_registered() -> None:
    assert register_observers() == [TrackioObserver]
