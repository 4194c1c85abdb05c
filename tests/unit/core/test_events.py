from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from pbkd.core.event_json import from_json, to_json
from pbkd.core.events import (
    BlockScored,
    BlockTrained,
    CheckpointDamaged,
    CostsChecked,
    CurveFinished,
    EpochDone,
    Event,
    JobStarted,
    Note,
    PhaseStarted,
    PlanMade,
    PlannedJob,
    PlannedWorker,
    PowerRead,
    Restarted,
    Resumed,
    RunFinished,
    RunStopped,
    StepsDone,
    StepsTimed,
    TeacherScored,
    WorkerLost,
)

PLAN = PlanMade(
    folder="runs/a",
    scheduler="greedy",
    feed="cache",
    seconds=2.5,
    workers=(PlannedWorker(rank=0, device="cpu"), PlannedWorker(rank=1, device="cuda:0")),
    blocks=("a", "b.1"),
    epochs={"teacher-fed": 2},
    totals={"teacher-fed": 4},
    lanes=((PlannedJob(blocks=("a", "b.1"), seconds=2.5),), ()),
)
EVENTS: tuple[Event, ...] = (
    PhaseStarted(phase="planning"),
    TeacherScored(name="vgg", images=10, accuracy=0.5, cut="vgg"),
    TeacherScored(name="vgg", images=10, accuracy=None, cut="vgg"),
    PLAN,
    JobStarted(worker=1, phase="retry", blocks=("a",), begun=1, epochs=2, steps=3, images=4),
    StepsDone(worker=None, phase="fine-tuning", steps=3),
    StepsTimed(worker=1, phase="teacher-fed", teacher={"stem": 0.5}, training={"a": 1.5}),
    CostsChecked(phase="teacher-fed", block="a", off=-0.5, split_anew=True, text="Half."),
    EpochDone(worker=0, phase="teacher-fed", block="a", epoch=1, loss=0.5),
    EpochDone(worker=None, phase="fine-tuning", block="student", epoch=1, loss=1, accuracy=0.9),
    BlockTrained(
        worker=0,
        phase="retry",
        block="a",
        job_seconds=3.5,
        losses=(0.5, 0.25),
        failure=None,
        checksum="0123abcd",
        first_failure="its training diverged",
    ),
    BlockScored(block="a", solo_drop=-0.01, reason="it loses too much"),
    BlockScored(block="a", solo_drop=0.0, reason=None, interval=(-0.5, 0.25), images=3),
    PowerRead(watts={"gpu0": 71.5}),
    Note(text="two\nlines"),
    WorkerLost(pid=17, silent_seconds=12.5),
    Restarted(attempt=1, reason="killed"),
    Restarted(reason="killed"),
    CheckpointDamaged(reason="it is damaged"),
    Resumed(),
    RunStopped(folder="runs/a"),
)


def test_every_event_class_has_an_example() -> None:
    assert {type(event) for event in EVENTS} == {*get_args(Event)} - {RunFinished, CurveFinished}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_survives_json(event: Event) -> None:
    line = json.dumps(to_json(event))
    assert from_json(json.loads(line)) == event


def test_fields_with_their_default_are_left_out_and_the_plan_always() -> None:
    epoch = EpochDone(time=1.0, worker=0, phase="retry", block="a", epoch=1, loss=0.5)
    assert to_json(epoch) == {
        "event": "epoch",
        "time": 1.0,
        "worker": 0,
        "phase": "retry",
        "block": "a",
        "epoch": 1,
        "loss": 0.5,
    }
    assert "plan" not in to_json(PlanMade(**{**vars(PLAN), "plan": object()}))


SOUND = to_json(EVENTS[4])


@pytest.mark.parametrize(
    "data",
    [
        None,
        7,
        [],
        {},
        {"event": ["job"]},
        {"event": "unheard of", "time": 1.0},
        {"event": "result", "time": 1.0, "result": {}},
        {key: value for key, value in SOUND.items() if key != "time"},
        {key: value for key, value in SOUND.items() if key != "steps"},
        {**SOUND, "time": float("nan")},
        {**SOUND, "time": 10**400},
        {**SOUND, "time": "soon"},
        {**SOUND, "steps": 1.5},
        {**SOUND, "steps": True},
        {**SOUND, "steps": 2**64},
        {**SOUND, "worker": "0"},
        {**SOUND, "steps": -1},
        {**SOUND, "images": 2**62},
        {"event": "teacher", "time": 1.0, "name": "a", "images": 1, "accuracy": -1.0, "cut": "b"},
        {"event": "power", "time": 1.0, "watts": {"gpu0": float("inf")}},
        {**SOUND, "blocks": "a"},
        {**SOUND, "blocks": [7]},
        {**to_json(PLAN), "workers": [{"rank": 0}]},
        {**to_json(BlockScored(block="a", solo_drop=0.0, reason=None)), "interval": [0.5]},
        {**to_json(PLAN), "epochs": {"teacher-fed": None}},
    ],
)
def test_damaged_data_is_no_event(data: Any) -> None:
    assert from_json(SOUND) == EVENTS[4]
    assert from_json(data) is None


def test_unknown_keys_are_ignored() -> None:
    assert from_json({**SOUND, "later": [1]}) == EVENTS[4]
