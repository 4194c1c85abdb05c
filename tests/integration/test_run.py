from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import pbkd
from pbkd.config.load import load_config
from pbkd.core.events import (
    BlockScored,
    BlockTrained,
    EpochDone,
    Event,
    Note,
    PhaseStarted,
    PlanMade,
    RunFinished,
    TeacherScored,
)
from pbkd.data.normalization import Normalization
from pbkd.errors import ConfigError, TeacherError, UnknownNameError, WorkerError
from pbkd.models.accuracy import accuracy
from pbkd.models.weights import read_weights
from pbkd.pipeline.finish import finish
from pbkd.pipeline.plan import plan_run
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry

if TYPE_CHECKING:
    from pbkd.core.results import BlockResult, RunResult
    from pbkd.plugin.registry import Registry
    from pbkd.training.task import DistillationTask


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, list[Event]]:
    """A short run with a replacement that is turned down, and its events."""
    events: list[Event] = []
    overrides = [
        f"out={tmp_path_factory.mktemp('runs')}",
        "threads=1",
        "distill.epochs=2",
        "distill.student_fed_epochs=1",
        "finetune.epochs=2",
        "builder.stem=true",
    ]
    torch.set_num_threads(1)
    return run(load_config(overrides), build_registry(), events.append), events


def test_the_result_is_written_as_json_csv_and_card(
    finished: tuple[RunResult, list[Event]],
) -> None:
    result, _ = finished
    folder = Path(result.folder)
    assert json.loads((folder / "result.json").read_text()) == json.loads(
        json.dumps(result.to_dict())
    )
    assert len((folder / "blocks.csv").read_text().splitlines()) == 1 + len(result.blocks)
    assert (folder / "README.md").read_text().startswith("# digits-vgg student")
    assert load_config(file=folder / "config.yaml").distill.epochs == 2


def test_every_phase_is_measured(finished: tuple[RunResult, list[Event]]) -> None:
    result, _ = finished
    assert [phase.name for phase in result.phases] == [
        "planning",
        "teacher-fed",
        "scoring",
        "student-fed",
        "recalibration",
        "fine-tuning",
        "evaluation",
    ]
    for phase in result.phases:
        assert phase.seconds > 0
        assert phase.cpu_seconds >= 0
        assert phase.joules_reason if phase.joules is None else phase.joules


def test_latency_is_that_of_one_image_and_of_the_runs_batch(
    finished: tuple[RunResult, list[Event]],
) -> None:
    result, _ = finished
    for network in (result.teacher, result.student):
        one, many = network.latencies
        assert (one.batch, many.batch) == (1, 64)
        assert one.repeats == many.repeats > 1
        assert 0 < one.median_seconds < many.median_seconds


def test_the_teacher_is_scored_before_anything_else(
    finished: tuple[RunResult, list[Event]],
) -> None:
    result, events = finished
    planning, teacher = events[:2]
    assert isinstance(planning, PhaseStarted)
    assert planning.phase == "planning"
    assert isinstance(teacher, TeacherScored)
    assert teacher.accuracy == result.teacher.accuracy


def test_events_tell_of_every_epoch_and_block(
    finished: tuple[RunResult, list[Event]],
) -> None:
    result, events = finished
    classes = [type(event) for event in events]
    epochs = Counter(event.phase for event in events if isinstance(event, EpochDone))
    blocks, replaced = len(result.blocks), sum(block.replaced for block in result.blocks)
    assert epochs == {"teacher-fed": 2 * blocks, "student-fed": replaced, "fine-tuning": 2}
    assert classes.count(BlockTrained) == blocks + replaced
    assert classes.count(BlockScored) == blocks
    assert classes[-1] is RunFinished
    plan = next(event for event in events if isinstance(event, PlanMade))
    assert plan.totals["teacher-fed"] == 2 * blocks


def test_blocks_have_losses_scores_and_reasons(
    finished: tuple[RunResult, list[Event]],
) -> None:
    result, _ = finished
    for block in result.blocks:
        assert len(block.teacher_fed_losses) == 2
        assert block.solo_drop is not None
        assert block.worker == 0
        assert block.replaced == (block.reason is None) == (block.solo_drop <= 0.15)
        assert len(block.student_fed_losses) == (1 if block.replaced else 0)
    assert [block.name for block in result.blocks if not block.replaced] == ["conv1_1"]


def test_the_student_in_the_folder_is_the_one_that_was_scored(
    finished: tuple[RunResult, list[Event]], digits: DistillationTask
) -> None:
    result, _ = finished
    student = pbkd.load(result.folder)
    score = accuracy(student, digits.data.test, Normalization((0.5,), (0.5,)), device="cpu")
    assert score == result.student.accuracy == result.accuracies["fine-tuned"]


def test_two_processes_give_the_weights_of_one(quick: list[str], registry: Registry) -> None:
    """`--plugin lpt-scheduler workers=2` against `workers=1` with round-robin."""
    one = load_config([*quick, "scheduler=round-robin", "workers=1"])
    two = load_config([*quick, "workers=2"], plugins=registry.provided(["lpt-scheduler"]))
    assert two.scheduler == {"name": "lpt-scheduler"}
    events: list[Event] = []
    first = run(one, registry)
    second = run(two, registry, events.append)
    for block in first.blocks:
        one_by_one, shared = (
            read_weights(Path(result.folder) / "teacher-fed" / f"{block.name}.safetensors")
            for result in (first, second)
        )
        assert one_by_one.keys() == shared.keys()
        assert all(torch.equal(one_by_one[key], shared[key]) for key in shared), block.name
    assert {event.worker for event in events if isinstance(event, BlockTrained)} == {0, 1}


def test_phases_can_be_left_out(quick: list[str], registry: Registry) -> None:
    left_out = ["distill.student_fed_epochs=0", "finetune.epochs=0", "recalibrate_batches=0"]
    result = run(load_config([*quick, *left_out]), registry)
    assert result.accuracies["recalibrated"] is None
    assert result.accuracies["fine-tuned"] is None
    assert result.accuracies["assembled"] == result.student.accuracy
    assert "Recalibration was not asked for." in result.notes
    assert "Fine-tuning was not asked for." in result.notes


def test_no_replacement_good_enough_gives_the_teacher(quick: list[str], registry: Registry) -> None:
    config = load_config(
        [*quick, "builder.share=0.05", "max_drop=0", "distill.lr=1e-12", "finetune.epochs=0"]
    )
    result = run(config, registry)
    kept = [block for block in result.blocks if not block.replaced]
    assert all(block.reason and "alone it loses" in block.reason for block in kept)
    assert len(kept) >= 5


def test_a_diverging_block_keeps_the_teachers_segment(quick: list[str], registry: Registry) -> None:
    config = load_config([*quick, "distill.lr=1e30", "finetune.epochs=0"])
    result = run(config, registry)
    assert not any(block.replaced for block in result.blocks)
    assert any("its training diverged" in (block.reason or "") for block in result.blocks)
    assert result.student.accuracy == result.teacher.accuracy


def _vandalise(value: Any) -> None:
    """Change whatever can be changed in a result, however deep."""
    if isinstance(value, nn.Module):
        for tensor in value.state_dict().values():
            tensor.zero_()
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _vandalise(getattr(value, field.name))
            object.__setattr__(value, field.name, None)
    elif isinstance(value, tuple | list):
        for part in value:
            _vandalise(part)
    elif isinstance(value, dict):
        value.clear()


def test_observers_hear_of_blocks_and_of_the_run_and_change_neither(quick: list[str]) -> None:
    class Observer:
        blocks: list[BlockResult] = []  # noqa: RUF012
        runs: list[RunResult] = []  # noqa: RUF012

        @pbkd.hookimpl
        def block_finished(self, result: BlockResult) -> None:
            self.blocks.append(copy.deepcopy(result))
            _vandalise(result)

        @pbkd.hookimpl
        def run_finished(self, result: RunResult) -> None:
            self.runs.append(copy.deepcopy(result))
            _vandalise(result)

    registry = build_registry()
    observer = Observer()
    registry.add("observer", observer, version="", origin="here")
    result = run(load_config(quick), registry)
    assert observer.runs == [result]
    written = json.loads((Path(result.folder) / "result.json").read_text())
    assert written == json.loads(json.dumps(result.to_dict()))
    assert all(block.builder["name"] == "low-rank" for block in result.blocks)
    assert result.student.network is not None
    assert all(bool(tensor.any()) for tensor in result.student.network.parameters())
    assert {b.name for b in observer.blocks} == {b.name for b in result.blocks}
    assert all(len(block.teacher_fed_losses) == 2 for block in observer.blocks)


@pytest.mark.parametrize("error", [ValueError("no\nnetwork"), SystemExit(3)])
def test_an_observer_that_raises_is_told_and_ends_nothing(
    quick: list[str], error: BaseException
) -> None:
    class Sick:
        @pbkd.hookimpl
        def block_finished(self) -> None:
            raise error

        @pbkd.hookimpl
        def run_finished(self) -> None:
            raise error

    class Sound:
        heard: list[str] = []  # noqa: RUF012

        @pbkd.hookimpl
        def block_finished(self, result: BlockResult) -> None:
            self.heard.append(result.name)

        @pbkd.hookimpl
        def run_finished(self, result: RunResult) -> None:
            self.heard.append(result.folder)

    Sound.heard = []
    registry = build_registry()
    for name, plugin in (("before", Sound()), ("sick", Sick()), ("after", Sound())):
        registry.add(name, plugin, version="", origin="here")
    events: list[Event] = []
    result = run(load_config([*quick, "finetune.epochs=0"]), registry, events.append)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    hooks = "block_finished", "run_finished"
    of_blocks, of_run = (f"The plugin 'sick' fails in {hook} ({text})." for hook in hooks)
    assert [event.text for event in events if isinstance(event, Note)] == [of_blocks, of_run]
    assert result.notes.count(of_blocks) == 1
    assert of_blocks in (Path(result.folder) / "README.md").read_text()
    assert sorted(Sound.heard) == sorted(2 * [*(b.name for b in result.blocks), result.folder])
    assert pbkd.load(result.folder)


def test_planning_trains_nothing_and_writes_nothing(
    quick: list[str], registry: Registry, tmp_path: Path
) -> None:
    planned_run = plan_run(load_config([*quick, "workers=3"]), registry)
    assert not (tmp_path / "runs").exists()
    assert len(planned_run.plan.workers) == 3
    assert [p.block.name for p in planned_run.plan.blocks] == [
        "conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2",
    ]  # fmt: skip
    assert planned_run.plan.workload.steps == 2 * (1077 // 64)
    assert planned_run.plan.seconds > 0


def test_open_epochs_become_a_number_of_steps(registry: Registry) -> None:
    config = plan_run(load_config(), registry).config
    steps = 1077 // 64
    assert config.distill.epochs == round(600 / steps)
    assert config.distill.student_fed_epochs == round(300 / steps)
    big = load_config(["data=synthetic", "data.count=50000", "data.channels=1", "data.height=8",
                       "data.width=8"])  # fmt: skip
    assert plan_run(big, registry).config.distill.epochs == 1


def test_workers_auto_is_a_number_once_planned(
    quick: list[str], registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbkd.execution.workers._core_count", lambda: 2)
    planned_run = plan_run(load_config([*quick[:1], "workers=auto"]), registry)
    told = re.search(
        r"workers=auto \(with their start, 1: ([\d.]+) s, 2: ([\d.]+) s\)", planned_run.plan.why
    )
    assert told
    one, two = map(float, told.groups())
    assert planned_run.config.workers == len(planned_run.plan.workers) == (1 if one <= two else 2)


def test_segments_can_be_kept(quick: list[str], registry: Registry) -> None:
    config = load_config([*quick, "keep=[head*, conv1_*, conv2_*]"])
    assert [p.block.name for p in plan_run(config, registry).plan.blocks] == ["conv3_1", "conv3_2"]


def test_the_paper_form_is_dearer_for_the_first_convolution(
    quick: list[str], registry: Registry
) -> None:
    config = load_config([*quick, "builder=separable", "builder.form=paper", "builder.repeats=2"])
    first, *others = plan_run(config, registry).plan.blocks
    assert first.reason
    assert "dearer" in first.reason
    assert first.cost is None
    assert all(planned.cost for planned in others)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["keep=['*']"], "nothing to replace"),
        (["builder=separable", "builder.rank=9"], "nothing to replace"),
        (["distill.loss=mze"], "unknown loss 'mze'. Did you mean 'mse'"),
    ],
)
def test_mistakes_are_told_before_training(
    quick: list[str], registry: Registry, overrides: list[str], message: str
) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        run(load_config([*quick, *overrides]), registry)


def test_a_plugin_that_writes_to_the_teacher_is_found_out(
    quick: list[str], registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:

    def vandal(planned_run: Any, *rest: Any) -> Any:
        next(planned_run.task.teacher.network.parameters()).data[0] += 1e-6
        return finish(planned_run, *rest)

    monkeypatch.setattr("pbkd.pipeline.run.finish", vandal)
    with pytest.raises(TeacherError, match="weights changed during the run"):
        run(load_config(quick), registry)


def test_a_worker_that_fails_is_reported_with_its_logs(quick: list[str], tmp_path: Path) -> None:
    """The builder works in the host, and fails in the workers."""
    plugin = tmp_path / "fails.py"
    plugin.write_text(
        "import multiprocessing\n"
        "from pbkd import hookimpl\n"
        "from pbkd_separable import SeparableBuilder\n"
        "class Fails(SeparableBuilder):\n"
        "    name = 'fails'\n"
        "    def build(self, segment, block):\n"
        "        if multiprocessing.parent_process():\n"
        "            raise ValueError('not in a worker')\n"
        "        return super().build(segment, block)\n"
        "@hookimpl\n"
        "def register_builders():\n"
        "    return [Fails]\n"
    )
    registry = build_registry([str(plugin)])
    config = load_config([*quick, "workers=2"], plugins=registry.provided([str(plugin)]))
    with pytest.raises(WorkerError, match="not in a worker.*logs"):
        run(config, registry)
