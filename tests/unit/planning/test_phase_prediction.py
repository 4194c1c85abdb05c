from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from pbkd.core.blocks import Block, BlockCost
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.core.workload import Workload
from pbkd.planning.phase_prediction import modelled_on, predict_phases, sharing_workers
from pbkd.planning.phase_work import serial_work, shared_passes, student_fed_costs
from pbkd.planning.plan import Plan, PlannedBlock
from pbkd.planning.run_extent import RunExtent
from pbkd.planning.run_work import PHASES, Loading, RunWork


def _planned(name: str, position: int, train: float, forward: float) -> PlannedBlock:
    return PlannedBlock(
        name=name,
        builder={"name": "low-rank"},
        block=Block(name, position, (1,), (1,)),
        reason=None,
        parameters_before=4,
        parameters_after=1,
        bytes_before=16,
        bytes_after=4,
        macs_before=10**9,
        macs_after=1,
        cost=BlockCost(name, 2.0 * position - 1, 2.0, train),
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
EXTENT = RunExtent(
    batch_size=1_536,
    labelled=True,
    validation_images=3_072,  # 12 batches of scoring
    test_images=6_144,
    sample_images=6_144,
    recalibration_batches=3,
    epochs=2,
    epoch_steps=5,
    training_images=50,
    gradient_bytes=8_000,
    exchanges=6,
)
ALL = ("a", "b")
STUDENT = 1.0 + 0.5 + 1.5 + 0.5  # stem, both replacements, head
STEP = 5.5 + 8 + 3 * 1.5  # the teacher, both trainings, three passes of what is kept


def _work(plan: Plan, student: tuple[str, ...], **changes: Any) -> RunWork:
    loading = changes.pop("loading", Loading(own_seconds=0.0))
    steps, start = changes.pop("student_fed_steps", 4), changes.pop("start_seconds", 0.0)
    extent = replace(EXTENT, **changes)
    return RunWork(
        planning_seconds=0.0,
        start_seconds=start,
        build_seconds=0.0,
        loading=loading,
        student_fed=student_fed_costs(plan, student),
        student_fed_steps=steps,
        passes=shared_passes(plan, student, extent),
        serial=serial_work(plan, student, extent, loading),
    )


def _predict(
    student: tuple[str, ...] = ALL,
    plan: Plan = PLAN,
    workers: Sequence[Worker] = (Worker(0),),
    **changes: Any,
) -> dict[str, float]:
    idle: tuple[tuple[Job, ...], ...] = ((),) * (len(workers) - 1)
    schedule = replace(plan.schedule, assigned=(*plan.schedule.assigned, *idle))
    costs = [p.cost for p in plan.trained if p.cost]
    job = Job(tuple(cost.name for cost in costs if cost.name in student))
    return predict_phases(
        _work(plan, student, **changes),
        (schedule, costs, plan.workload),
        Schedule(((job,), *idle)),
        workers,
        modelled_on(workers),
    )


def test_every_phase_is_the_sum_of_its_passes() -> None:
    phases = _predict()
    assert phases["teacher-fed"] == 130
    # The teacher, `a` and what follows it, `b` and what follows it; two batches.
    assert phases["scoring"] == 2 * (5.5 + (0.5 + 2.5) + (1.5 + 0.5))
    assert phases["student-fed"] == 4 * 13  # as a step of the teacher-fed phase
    assert phases["recalibration"] == (2 + 2 + 3) * STUDENT
    assert phases["fine-tuning"] == 2 * (5 * STEP + 2 * STUDENT)
    assert tuple(phases) == PHASES


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


def test_networks_are_scored_in_float32_where_training_is_faster() -> None:
    trained, scored = _predict(), _predict(scoring_factor=2.0)
    assert scored.pop("fine-tuning") - trained.pop("fine-tuning") == pytest.approx(2 * 2 * STUDENT)
    assert {p for p in trained if scored[p] == trained[p]} == {"teacher-fed", "student-fed"}
    assert scored["scoring"] == pytest.approx(2 * trained["scoring"])
    assert scored["recalibration"] == pytest.approx(2 * trained["recalibration"])


def test_without_labels_the_teacher_labels_validation_and_test() -> None:
    with_labels, without = _predict(), _predict(labelled=False, sample_images=0)
    assert without["scoring"] - with_labels["scoring"] == pytest.approx(2 * 5.5)
    assert without["evaluation"] - with_labels["evaluation"] == pytest.approx(4 * 5.5)


def test_a_skipped_phase_takes_nothing() -> None:
    nothing: dict[str, Any] = {"student_fed_steps": 0, "epochs": 0, "start_seconds": 7.0}
    two = [Worker(0), Worker(1)]
    phases = _predict(plan=replace(PLAN, workload=Workload(0, 0)), workers=two, **nothing)
    assert (phases["teacher-fed"], phases["student-fed"], phases["fine-tuning"]) == (0, 0, 0)


def test_students_activations_pass_through_the_segments_between_blocks() -> None:
    between = replace(PLAN, segment_seconds={"stem": 1.0, "a": 2.0, "mid": 0.25, "b": 2.0})
    assert _predict(plan=between)["student-fed"] == 4 * (13 + 0.25)


def test_several_workers_start_in_every_phase_that_they_share() -> None:
    two = [Worker(0), Worker(1)]
    phases, later = _predict(workers=two), _predict(workers=two, start_seconds=7.0)
    grown = {name: later[name] - seconds for name, seconds in phases.items()}
    shared = dict.fromkeys(("teacher-fed", "student-fed", "fine-tuning"), 7)
    assert grown == dict.fromkeys(PHASES, 0) | shared
    assert _predict(start_seconds=7.0) == _predict()  # one worker is the host itself


FAST: dict[str, Any] = {"bandwidth": 1e15, "latency": 0.0}


def test_workers_divide_fine_tuning() -> None:
    one, four = _predict(), _predict(workers=[Worker(rank, **FAST) for rank in range(4)])
    assert four.pop("fine-tuning") == pytest.approx(one.pop("fine-tuning") / 4)
    assert four == one  # the schedules are on one worker here


THIN = replace(PLAN, blocks=tuple(replace(p, macs_after=10**8) for p in PLAN.blocks))
"""A plan whose student is large enough for workers to share its scoring."""


@pytest.mark.parametrize(
    ("count", "validation", "tests"),  # shares of 12 and 24 batches
    [(1, 1, 1), (2, 1 / 2, 1 / 2), (4, 1 / 4, 1 / 4), (5, 3 / 12, 5 / 24), (50, 1 / 12, 1 / 24)],
)
def test_workers_divide_the_scoring_of_the_student_by_whole_batches(
    count: int, validation: float, tests: float
) -> None:
    workers = [Worker(rank, **FAST) for rank in range(count)]
    phases = _predict(plan=THIN, workers=workers)
    assert phases["recalibration"] == pytest.approx((validation * (2 + 2) + 3) * STUDENT)
    saved = _predict(plan=THIN)["evaluation"] - phases["evaluation"]
    assert saved == pytest.approx(3 * 4 * STUDENT * (1 - tests))


def test_phases_are_shared_by_no_more_workers_than_they_have_batches() -> None:
    workers = [Worker(rank, **FAST) for rank in range(20)]
    shared = sharing_workers(_work(THIN, ALL), workers, modelled_on)
    counts = {phase: len(some) for phase, some in shared.items()}
    assert counts == {"recalibration": 12, "fine-tuning": 20, "evaluation": 20}
    assert sharing_workers(_work(THIN, ALL, start_seconds=1e6), workers, modelled_on) == {}
    assert sharing_workers(_work(THIN, ALL), workers[:1], modelled_on) == {}


def test_fine_tuning_is_divided_by_speed_and_exchanged_over_the_links() -> None:
    slow = [Worker(0, **FAST), Worker(1, **FAST, speed=0.5)]
    whole = 2 * (5 * STEP + 2 * STUDENT)
    assert _predict(workers=slow)["fine-tuning"] == pytest.approx(whole / 1.5)
    far = [Worker(rank, bandwidth=10_000, latency=0.1) for rank in range(2)]
    exchanged = 2 * 8_000 / 10_000 + 6 * 0.1
    assert _predict(workers=far)["fine-tuning"] == pytest.approx(whole / 2 + 2 * 5 * exchanged)


@pytest.mark.parametrize(
    ("nodes", "is_quick"), [(("", ""), True), (("a", "a"), True), (("a", "b"), False)]
)
def test_workers_of_a_machine_exchange_in_shared_memory(
    nodes: tuple[str, str], is_quick: bool
) -> None:
    workers = [
        Worker(rank, latency=0.1, node_latency=0.1, node=node, shares_memory=True)
        for rank, node in enumerate(nodes)
    ]
    quick, slow = 6 * 1e-4 + 8_000 / 2e9, 6 * 0.1 + 2 * 8_000 / 1e9
    exchanged = _predict(workers=workers)["fine-tuning"] - (5 * STEP + 2 * STUDENT)
    assert exchanged == pytest.approx(2 * 5 * (quick if is_quick else slow))
    mixed = [workers[0], replace(workers[1], shares_memory=False)]
    assert _predict(workers=mixed)["fine-tuning"] >= 5 * STEP + 2 * STUDENT + 2 * 5 * slow


@pytest.mark.parametrize(("count", "is_quick"), [(16, True), (17, False)])
def test_no_more_workers_share_memory_than_can(count: int, is_quick: bool) -> None:
    apart = [Worker(rank, latency=0.001) for rank in range(count)]
    together = [replace(worker, shares_memory=True) for worker in apart]
    seconds = [_predict(workers=workers)["fine-tuning"] for workers in (together, apart)]
    assert (seconds[0] < seconds[1]) == is_quick


def test_fine_tuning_stays_on_one_worker_where_links_or_starts_take_longer() -> None:
    far = [Worker(rank, bandwidth=1_000) for rank in range(2)]
    assert _predict(workers=far)["fine-tuning"] == _predict()["fine-tuning"]
    near = [Worker(rank, **FAST) for rank in range(2)]
    late = _predict(workers=near, start_seconds=1_000.0)
    assert late["fine-tuning"] == _predict()["fine-tuning"]


def test_overhead_and_loading_of_fine_tuning_are_not_shared() -> None:
    cost = BlockCost("a", 1.0, 2.0, 3.0, overhead_seconds=0.5)
    blocks = (replace(PLAN.blocks[0], cost=cost), PLAN.blocks[1])
    workers = [Worker(rank, **FAST) for rank in range(2)]
    plan = replace(PLAN, blocks=blocks)
    loading = Loading(own_seconds=0.25)
    assert _predict(plan=plan, workers=workers, loading=loading)["fine-tuning"] == pytest.approx(
        2 * (5 * ((STEP - 0.5) / 2 + 0.5 + 0.25) + 2 * (STUDENT + 0.25) / 2)
    )
    measured = _predict(plan=plan, workers=workers, loading=loading, tuning_overhead=0.25)
    assert measured["fine-tuning"] == pytest.approx(
        2 * (5 * (STEP * (0.75 / 2 + 0.25) + 0.25) + 2 * (STUDENT + 0.25) / 2)
    )
    parts = _predict(plan=plan, workers=workers, loading=loading, augmented_per_image=True)
    assert parts["fine-tuning"] == pytest.approx(
        2 * (5 * ((STEP - 0.5) / 2 + 0.5 + 0.25 / 2) + 2 * (STUDENT + 0.25) / 2)
    )


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
        (Schedule(((Job(("a",)), Job(("b",))),)), 160 + 2 * 10 * 0.5),  # each job loads anew
        (Schedule(((Job(("a", "b")),),), feed="cache"), 80 + 10 * 5 + 10 * 0.5),  # to write it
    ],
)
def test_each_job_of_a_worker_loads_its_images(schedule: Schedule, seconds: float) -> None:
    phases = _predict(plan=replace(PLAN, schedule=schedule), loading=Loading(own_seconds=0.5))
    assert phases["teacher-fed"] == pytest.approx(seconds)
