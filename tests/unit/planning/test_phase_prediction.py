from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pbkd.core.blocks import Block, BlockCost
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.core.workload import Workload
from pbkd.planning.phase_prediction import Loading, RunWork, predict_phases
from pbkd.planning.plan import Plan, PlannedBlock


def _planned(name: str, position: int, train: float, forward: float) -> PlannedBlock:
    return PlannedBlock(
        name=name,
        builder={"name": "low-rank"},
        block=Block(name, position, (1,), (1,)),
        reason=None,
        parameters_before=4,
        parameters_after=1,
        macs_before=4,
        macs_after=1,
        cost=BlockCost(name, 1.0, 2.0, train),
        forward_seconds=forward,
    )


PLAN = Plan(
    blocks=(_planned("a", 1, 3.0, 0.5), _planned("b", 2, 5.0, 1.5)),
    workers=(Worker(0),),
    schedule=Schedule(((Job(("a", "b")),),)),
    workload=Workload(10, 10),
    seconds=130.0,  # 10 steps of 1 + 2 + 2 for the teacher and 3 + 5 for the blocks
    scheduler="greedy",
    why="",
    cache=None,
    segment_seconds={"stem": 1.0, "a": 2.0, "b": 2.0, "head": 0.5},
)
WORK = RunWork(
    loading=Loading(own_seconds=0.0),
    start_seconds=0.0,
    relay_seconds=13.0,
    batch_size=10,
    labelled=True,
    validation_images=20,
    test_images=40,
    student_fed_steps=4,
    recalibration_batches=3,
    epochs=2,
    epoch_steps=5,
)
ALL = ("a", "b")
STUDENT = 1.0 + 0.5 + 1.5 + 0.5  # stem, both replacements, head


def _predict(student: tuple[str, ...] = ALL, plan: Plan = PLAN, **changes: Any) -> dict[str, float]:
    return predict_phases(plan, student, replace(WORK, **changes))


def test_every_phase_is_the_sum_of_its_passes() -> None:
    phases = _predict()
    assert phases["teacher-fed"] == 130
    # The teacher, `a` and what follows it, `b` and what follows it; two batches.
    assert phases["scoring"] == 2 * (5.5 + (0.5 + 2.5) + (1.5 + 0.5))
    assert phases["student-fed"] == 4 * 13
    assert phases["recalibration"] == (2 + 2 + 3) * STUDENT
    # A step: the teacher, both trainings, three passes of what is kept.
    assert phases["fine-tuning"] == 2 * (5 * (5.5 + 8 + 3 * 1.5) + 2 * STUDENT)
    assert list(phases) == [
        "teacher-fed", "scoring", "student-fed", "recalibration", "fine-tuning", "evaluation",
    ]  # fmt: skip


def test_evaluation_has_a_pass_for_every_stage() -> None:
    three = _predict()["evaluation"]
    assert three - _predict(recalibration_batches=0)["evaluation"] == pytest.approx(4 * STUDENT)
    assert three - _predict(epochs=0)["evaluation"] == pytest.approx(4 * STUDENT)


def test_a_block_that_stays_costs_what_the_teachers_costs() -> None:
    phases = _predict(("a",))
    student = 1.0 + 0.5 + 2.0 + 0.5
    assert phases["recalibration"] == 7 * student
    assert phases["fine-tuning"] == 2 * (5 * (5.5 + 3 + 3 * 3.5) + 2 * student)
    assert phases["scoring"] == _predict()["scoring"]  # all candidates are scored


def test_without_labels_the_teacher_labels_validation_and_test() -> None:
    with_labels, without = _predict(), _predict(labelled=False)
    assert without["scoring"] - with_labels["scoring"] == pytest.approx(2 * 5.5)
    assert without["evaluation"] - with_labels["evaluation"] == pytest.approx(4 * 5.5)


def test_a_skipped_phase_takes_nothing() -> None:
    nothing: dict[str, Any] = {"student_fed_steps": 0, "epochs": 0, "start_seconds": 7.0}
    phases = _predict(plan=replace(PLAN, workload=Workload(0, 0), seconds=0.0), **nothing)
    assert (phases["teacher-fed"], phases["student-fed"], phases["fine-tuning"]) == (0, 0, 0)


def test_workers_start_in_both_blockwise_phases() -> None:
    phases, later = _predict(), _predict(start_seconds=7.0)
    grown = {
        name: later[name] - seconds for name, seconds in phases.items() if later[name] != seconds
    }
    assert grown == {"teacher-fed": 7, "student-fed": 7}


@pytest.mark.parametrize(
    ("loading", "seconds"),
    [
        (Loading(own_seconds=0.5), 2.5),
        (Loading(own_seconds=0.5, ahead_seconds=1.0, cores_used=1.0), 3.5),  # nothing is left
        (Loading(own_seconds=0.0, ahead_seconds=1.0, cores_used=0.5), 2.0),  # hidden
        (Loading(own_seconds=0.0, ahead_seconds=4.0, cores_used=0.5), 5.0),  # reading is slower
        (Loading(own_seconds=0.0, ahead_seconds=3.0, cores_used=0.0), 3.0),  # an accelerator
    ],
)
def test_reading_ahead_hides_behind_computing_as_far_as_cores_are_free(
    loading: Loading, seconds: float
) -> None:
    assert loading.step_seconds(2.0) == seconds


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [
        (Schedule(((Job(("a", "b")),),)), 130 + 10 * 0.5),
        (Schedule(((Job(("a",)), Job(("b",))),)), 130 + 2 * 10 * 0.5),  # each job loads anew
        (Schedule(((Job(("a", "b")),),), feed="cache"), 130 + 10 * 0.5),  # to write the cache
    ],
)
def test_each_job_of_a_worker_loads_its_images(schedule: Schedule, seconds: float) -> None:
    phases = _predict(plan=replace(PLAN, schedule=schedule), loading=Loading(own_seconds=0.5))
    assert phases["teacher-fed"] == pytest.approx(seconds)
