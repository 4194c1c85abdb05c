from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

import pbkd
from pbkd.config.load import load_config
from pbkd.core.events import (
    BlockScored,
    BlockTrained,
    EpochDone,
    Event,
    PhaseStarted,
    PlanMade,
    RunFinished,
    TeacherScored,
)
from pbkd.core.files import read_json
from pbkd.core.process import thread_count
from pbkd.data.normalization import Normalization
from pbkd.errors import TeacherError, WorkerError
from pbkd.models.accuracy import accuracy
from pbkd.models.weights import read_weights
from pbkd.pipeline.finish import finish
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry

if TYPE_CHECKING:
    from pbkd.core.results import RunResult
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
    assert read_json(folder / "result.json") == json.loads(json.dumps(result.to_dict()))
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
    blocks, replaced = len(result.blocks), sum(bool(block.replaced) for block in result.blocks)
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


def test_a_run_of_one_thread_has_one_in_the_main_process_too(
    quick: list[str], registry: Registry
) -> None:
    seen: dict[str, set[int]] = {}

    def see(event: Event) -> None:
        if isinstance(event, (EpochDone, BlockScored)):
            seen.setdefault(type(event).__name__, set()).add(torch.get_num_threads())

    with thread_count(2):
        run(load_config([*quick, "workers=1", "threads=1"]), registry, see)
        assert torch.get_num_threads() == 2
    assert seen == {"EpochDone": {1}, "BlockScored": {1}}


def test_phases_can_be_left_out(quick: list[str], registry: Registry) -> None:
    left_out = ["distill.student_fed_epochs=0", "finetune.epochs=0", "recalibrate_batches=0"]
    result = run(load_config([*quick, *left_out]), registry)
    assert result.accuracies["recalibrated"] is None
    assert result.accuracies["fine-tuned"] is None
    assert result.accuracies["assembled"] == result.student.accuracy
    assert "Recalibration was not asked for." in result.notes
    assert "Fine-tuning was not asked for." in result.notes


def test_no_replacement_good_enough_gives_the_teacher(quick: list[str], registry: Registry) -> None:
    changes = ["builder.share=0.05", "target.block_drop=0", "distill.lr=1e-12", "finetune.epochs=0"]
    config = load_config([*quick, *changes, "data.validation=0.5"])
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


def test_a_plugin_that_writes_to_the_teacher_is_found_out(
    quick: list[str], registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:

    def vandal(ctx: Any, *rest: Any) -> Any:
        next(ctx.task.teacher.network.parameters()).data[0] += 1e-6
        return finish(ctx, *rest)

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
