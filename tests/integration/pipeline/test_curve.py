"""A curve: each point is the student of a run with its target alone, whatever interrupts it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import torch

from pbkd import load
from pbkd.config.load import load_config
from pbkd.core.curves import CurveResult
from pbkd.core.events import EpochDone, Event, Note, PhaseStarted
from pbkd.errors import RunFolderError
from pbkd.models.weights import read_weights
from pbkd.pipeline.curve import run_curve
from pbkd.pipeline.run import run
from pbkd.runs.curves import point_folder
from pbkd.runs.finished import read_finished
from tests.command_line import mistake
from tests.few_digits import few_digits

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry
    from tests.command_line import Pbkd

POINTS = ("0.8", "0.7")


class Made(NamedTuple):
    """A curve that nobody interrupted, and its folder as kills would have left it."""

    result: CurveResult
    events: list[Event]
    stopped: dict[str, Path]


def settings(out: Path) -> list[str]:
    return [
        f"out={out}", "threads=1", "distill.epochs=1", "distill.student_fed_epochs=1",
        "finetune.epochs=2", "batch_size=128", "meters=[]",
        "keep=[stem*,head*,conv1*,conv2_1,conv3_2]", "builder.share=0.36",
        "candidates=[{name: low-rank, share: 0.12}]", *few_digits(out.parent, training=300),
    ]  # fmt: skip


def moment(event: Event) -> str | None:
    """Name the moments after which the curve is copied."""
    match event:
        case PhaseStarted(phase="recalibration"):
            return "the first point is trained student-fed"
        case EpochDone(phase="fine-tuning", block="0.8", epoch=1):
            return "one of the points has an epoch of fine-tuning"
        case Note() if event.text.startswith("0.8: 2 of"):
            return "the first point is finished"
    return None


@pytest.fixture(scope="module")
def made(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Made:
    out, home = tmp_path_factory.mktemp("curve"), tmp_path_factory.mktemp("copies")
    stopped: dict[str, Path] = {}
    events: list[Event] = []

    def see(event: Event) -> None:
        events.append(event)
        name = moment(event)
        if name and name not in stopped:
            folder = (out / "latest").resolve()
            stopped[name] = Path(shutil.copytree(folder, home / str(len(stopped)) / folder.name))

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pbkd.training.checkpoint.STEPS_BETWEEN", 1)
        config = load_config([*settings(out), f"target.curve=[{', '.join(reversed(POINTS))}]"])
        return Made(run_curve(config, registry, see), events, stopped)


def are_equal(one: Path, other: Path) -> bool:
    found, wanted = (read_weights(each / "student" / "model.safetensors") for each in (one, other))
    return found.keys() == wanted.keys() and all(torch.equal(found[n], wanted[n]) for n in wanted)


@pytest.mark.parametrize("name", [pytest.param("0.8", marks=pytest.mark.slow), "0.7"])
def test_a_point_is_the_student_of_a_run_with_its_target_alone(
    name: str, made: Made, registry: Registry, tmp_path: Path
) -> None:
    config = load_config([*settings(tmp_path), f"target.macs={name}"])
    alone = run(config, registry)
    folder = point_folder(Path(made.result.folder), name)
    assert are_equal(folder, Path(alone.folder))
    point = read_finished(folder).result
    assert point.accuracies == alone.accuracies
    assert [b.builder for b in point.blocks] == [b.builder for b in alone.blocks]
    assert [wish.is_met for wish in point.wishes] == [True]


def test_its_points_have_their_table_and_differ(made: Made) -> None:
    teacher, large, small = made.result.points
    assert (large.name, small.name) == POINTS
    assert teacher.network.macs > large.network.macs > small.network.macs
    assert [point.joules for point in made.result.points] == [None] * 3
    lines = (Path(made.result.folder) / "curve.csv").read_text().splitlines()
    assert lines[0].startswith("point,kind,score,score_low,score_high,points_lost")
    assert [line.split(",")[0] for line in lines[1:]] == ["digits-vgg", *POINTS]


def test_events_tell_of_which_point_they_are(made: Made) -> None:
    tuned = [e.block for e in made.events if isinstance(e, EpochDone) and e.phase == "fine-tuning"]
    assert tuned == [*POINTS, *POINTS]
    blocks = {e.block for e in made.events if isinstance(e, EpochDone) and e.phase == "student-fed"}
    assert {block.partition("/")[0] for block in blocks} == {*POINTS}


SLOW = pytest.mark.slow


@pytest.mark.parametrize("index", [pytest.param(0, marks=SLOW), 1, pytest.param(2, marks=SLOW)])
def test_a_curve_that_was_stopped_goes_on_to_the_same_students(
    index: int, made: Made, registry: Registry, tmp_path: Path
) -> None:
    copied = [*made.stopped.values()][index]
    folder = Path(shutil.copytree(copied, tmp_path / copied.name))
    result = run_curve(load_config(file=folder / "config.yaml"), registry, resume=folder)
    for name in POINTS:
        whole = Path(made.result.folder)
        assert are_equal(point_folder(folder, name), point_folder(whole, name))
    assert [p.network.accuracy for p in result.points] == [
        p.network.accuracy for p in made.result.points
    ]
    assert any("resumed 1 time" in note for note in result.notes)


def test_the_status_of_each_point_is_told(made: Made, pbkd: Pbkd) -> None:
    assert "point 0.8: finished\npoint 0.7: finished\n" in pbkd("status", made.result.folder).out
    stopped = pbkd("status", [*made.stopped.values()][1]).out
    assert "point 0.8: in fine-tuning; fine-tuning: 0 of 1 done, of 2 epochs: student 1" in stopped
    assert "stopped; go on with `pbkd run --resume" in stopped


def test_a_picked_point_is_what_the_folder_stands_for(made: Made, pbkd: Pbkd) -> None:
    folder = made.result.folder
    with pytest.raises(RunFolderError, match=r"pick a point by `pbkd pick FOLDER POINT`, of 0\.8"):
        load(folder)
    assert "has no point 0.75: its points are 0.8, 0.7." in mistake(pbkd("pick", folder, "0.75"))
    picked = pbkd("pick", folder, ".70").out.strip()
    assert picked == str(point_folder(Path(folder), "0.7"))
    student, other = load(folder), load(picked)
    theirs = other.state_dict()
    assert all(torch.equal(tensor, theirs[n]) for n, tensor in student.state_dict().items())
