"""A block that fails is trained once more, then keeps the teacher's segment; the others go on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

import pbkd
from pbkd.config.load import load_config
from pbkd.core.events import BlockScored, BlockTrained, EpochDone, Event, PlanMade
from pbkd.errors import PluginError
from pbkd.models.weights import read_weights
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.runs.assignment import Assignment, write_assignment
from tests.few_digits import few_digits

if TYPE_CHECKING:
    from pbkd.core.results import BlockResult, RunResult


FAULTY = """
import os
from pathlib import Path

import torch
from torch import nn

from pbkd import hookimpl
from pbkd_separable import SeparableBuilder

HERE = Path(__file__).parent


class Diverging(nn.Module):
    # Its output grows with every step at the full rate, so that its loss does too.
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        y = self.inner(x)
        return y * torch.inf if self.training and (HERE / "diverge").exists() else y


class Raising(Diverging):
    def __init__(self, inner):
        super().__init__(inner)
        self.steps = 0

    def forward(self, x):
        self.steps += self.training
        if self.steps > 12 and ERROR is not None:
            raise ERROR
        return self.inner(x)


class Hungry(Diverging):
    # More than 32 rows are too much for it, once the plan is made.
    def forward(self, x):
        if self.training and len(x) > 32 and (HERE / "planned").exists():
            raise MemoryError
        return self.inner(x)


class Later(Diverging):
    def forward(self, x):
        if self.training and (HERE / "later").exists():
            raise ValueError("not again")
        return self.inner(x)


class Faulty(SeparableBuilder):
    name = "faulty"

    def build(self, segment, block):
        built = super().build(segment, block)
        return KIND(built) if built is not None and block.name == "conv2_1" else built


@hookimpl
def register_builders():
    return [Faulty]
"""


RAISING = "ERROR = ValueError('no such luck')\nKIND = Raising\n"

OUT_OF_MEMORY = (
    'ERROR = RuntimeError("[enforce fail] DefaultCPUAllocator: can\'t allocate memory")\n'
    "KIND = Raising\n"
)


@pytest.fixture
def short(tmp_path: Path) -> list[str]:
    return [
        f"out={tmp_path / 'runs'}",
        *few_digits(tmp_path, training=600),
        "data.crop=1",
        "threads=1",
        "distill.epochs=2",
        "distill.student_fed_epochs=1",
        "finetune.epochs=0",
        "recalibrate_batches=0",
        "meters=[]",
        "builder.stem=true",
    ]


def _run(plugin: Path, overrides: list[str]) -> tuple[RunResult, list[Event]]:
    registry = build_registry([str(plugin)])
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        if isinstance(event, PlanMade):  # not before: the plan trains a little to measure
            (plugin.parent / "diverge").touch()
            (plugin.parent / "planned").touch()
        if isinstance(event, BlockScored):  # after it, blocks are fed by the student
            (plugin.parent / "later").touch()
        if isinstance(event, BlockTrained) and event.failure:
            (plugin.parent / "diverge").unlink(missing_ok=True)

    config = load_config(overrides, plugins=registry.provided([str(plugin)]))
    return run(config, registry, emit), events


def _failures(events: list[Event]) -> list[str]:
    """Return the phase of each training that failed."""
    return [e.phase for e in events if isinstance(e, BlockTrained) and e.failure]


def _block(result: RunResult, name: str) -> BlockResult:
    return next(block for block in result.blocks if block.name == name)


def _plugin(folder: Path, text: str) -> Path:
    path = folder / "faulty.py"
    path.write_text(FAULTY + text)
    return path


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_block_that_diverged_succeeds_the_second_time(
    short: list[str], tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assigned: list[Assignment] = []

    def write(folder: Path, assignment: Assignment) -> None:
        assigned.append(assignment)
        write_assignment(folder, assignment)

    monkeypatch.setattr("pbkd.pipeline.launching.write_assignment", write)
    plugin = _plugin(tmp_path, "KIND = Diverging\n")
    result, events = _run(plugin, [*short, f"workers={workers}"])
    block = _block(result, "conv2_1")
    assert block.first_failure == "its training diverged (its loss is nan after 4 steps)"
    assert block.solo_interval  # of few images: its lower end decides
    assert block.replaced == (block.solo_interval[0] <= 0.15)
    assert len(block.teacher_fed_losses) == 2
    assert any("'conv2_1' was trained a second time" in note for note in result.notes)
    epochs = [e for e in events if isinstance(e, EpochDone)]
    assert {e.block for e in epochs if e.phase == "retry"} == {"conv2_1"}
    assert pbkd.load(result.folder, plugins=[str(plugin)])
    # A second training takes a tenth of the rate, from the same first weights.
    phases = [(a.phase, a.start, a.rates) for a in assigned]
    assert phases[:2] == [
        ("teacher-fed", "initial", {}),
        ("retry", "initial", {"conv2_1": 0.1}),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (RAISING, "its training failed (ValueError: no such luck)"),
        pytest.param(OUT_OF_MEMORY, "its training ran out of memory", marks=pytest.mark.slow),
    ],
)
def test_a_block_that_fails_twice_keeps_the_teachers_segment(
    short: list[str], tmp_path: Path, text: str, reason: str
) -> None:
    result, events = _run(_plugin(tmp_path, text), short)
    block = _block(result, "conv2_1")
    assert (block.replaced, block.reason, block.first_failure) == (False, reason, reason)
    assert _failures(events) == [
        "teacher-fed",
        "retry",
    ]
    assert f"again {reason}, so it keeps the teacher's segment" in " ".join(result.notes)
    assert reason in (Path(result.folder) / "README.md").read_text()
    others = [b for b in result.blocks if b.name != "conv2_1"]
    assert sum(bool(b.replaced) for b in others) >= 3
    # What the others learnt is what they learn beside a block that does not fail.
    plain, _ = _run(_plugin(tmp_path, "ERROR = None\nKIND = Raising\n"), short)
    for other in others:
        name = f"teacher-fed/{other.name}.safetensors"
        faulty, sound = (read_weights(Path(r.folder) / name) for r in (result, plain))
        assert all(torch.equal(faulty[key], sound[key]) for key in sound), other.name


@pytest.mark.usefixtures("unshared")
@pytest.mark.parametrize(
    "scheduler", [pytest.param("round-robin", marks=pytest.mark.slow), "pipeline"]
)
def test_a_block_that_ran_out_of_memory_succeeds_in_pieces_of_each_batch(
    short: list[str], tmp_path: Path, scheduler: str
) -> None:
    workers = 2 if scheduler == "pipeline" else 1
    plugin = _plugin(tmp_path, "KIND = Hungry\n")
    result, events = _run(plugin, [*short, f"scheduler={scheduler}", f"workers={workers}"])
    block = _block(result, "conv2_1")
    assert block.first_failure == "its training ran out of memory"
    assert block.replaced
    assert (len(block.teacher_fed_losses), len(block.student_fed_losses)) == (2, 1)
    assert block.teacher_fed_losses[1] < block.teacher_fed_losses[0]
    assert _failures(events) == ["teacher-fed"]


def _digests(result: RunResult, phase: str) -> dict[str, bytes]:
    files = (Path(result.folder) / phase).glob("*.safetensors")
    return {path.stem: path.read_bytes() for path in files}


@pytest.mark.usefixtures("unshared")
def test_a_failing_block_stops_no_other_in_a_relay(short: list[str], tmp_path: Path) -> None:
    plugin = _plugin(tmp_path, RAISING)
    alone, _ = _run(plugin, [*short, "scheduler=round-robin"])
    relay, events = _run(plugin, [*short, "scheduler=pipeline", "workers=2"])
    plan = next(event for event in events if isinstance(event, PlanMade))
    assert plan.feed == "relay"
    assert _digests(alone, "teacher-fed") == _digests(relay, "teacher-fed")
    assert "conv2_1" not in _digests(relay, "teacher-fed")
    assert _block(alone, "conv2_1").reason == _block(relay, "conv2_1").reason is not None
    assert [b.replaced for b in alone.blocks] == [b.replaced for b in relay.blocks]


@pytest.mark.slow
def test_a_failing_block_stops_no_other_that_reads_the_cache(
    short: list[str], tmp_path: Path
) -> None:
    cached = ["scheduler=cached", "cache_gigabytes=1", "data.crop=0"]
    result, events = _run(_plugin(tmp_path, RAISING), [*short, *cached])
    plan = next(event for event in events if isinstance(event, PlanMade))
    assert plan.feed == "cache"
    assert [b.name for b in result.blocks if b.first_failure] == ["conv2_1"]
    assert sum(bool(b.replaced) for b in result.blocks) >= 3


def test_a_block_that_fails_student_fed_keeps_its_teacher_fed_weights(
    short: list[str], tmp_path: Path
) -> None:
    plugin = _plugin(tmp_path, "KIND = Later\n")
    result, _ = _run(plugin, [*short, "target.block_drop=100"])
    block = _block(result, "conv2_1")
    assert (block.replaced, block.first_failure, block.student_fed_losses) == (True, None, ())
    note = "Block 'conv2_1' keeps its teacher-fed weights: in the student-fed phase its training"
    assert any(text.startswith(f"{note} failed (ValueError: not again)") for text in result.notes)
    student = pbkd.load(result.folder, plugins=[str(plugin)])
    for other in result.blocks:
        phase = "teacher-fed" if other is block else "student-fed"
        trained = read_weights(Path(result.folder) / phase / f"{other.name}.safetensors")
        loaded = student.get_submodule(other.name).state_dict()
        assert all(torch.equal(trained[key], loaded[key]) for key in trained), other.name


def test_one_that_cannot_be_trained_at_all_is_told_before_training(
    short: list[str], tmp_path: Path
) -> None:
    (tmp_path / "later").touch()
    with pytest.raises(PluginError, match="replacement of block 'conv2_1' cannot .*not again"):
        _run(_plugin(tmp_path, "KIND = Later\n"), short)
    assert not (tmp_path / "runs").exists()
