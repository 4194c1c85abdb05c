from __future__ import annotations

from pbkd.core.blocks import BlockCost
from pbkd.planning.curve_prediction import curve_phases
from pbkd.planning.run_work import Loading, RunWork, SharedPass


def _work(steps: int) -> RunWork:
    training = SharedPass(
        phase="fine-tuning", cost=BlockCost("student", 0.0, 0.5, 1.0), steps=steps
    )
    validation = SharedPass(
        phase="fine-tuning", cost=BlockCost("student", 0.0, 0.5, 0.0), steps=100
    )
    return RunWork(
        planning_seconds=0.0, start_seconds=0.0, build_seconds=0.0,
        loading=Loading(own_seconds=0.0), student_fed=(), student_fed_steps=0,
        passes=(training, validation),
    )  # fmt: skip


def test_a_curve_trains_and_scores_candidates_once_and_asks_the_teacher_once() -> None:
    alone = {"teacher-fed": 9.0, "scoring": 2.0, "fine-tuning": 20.0, "evaluation": 1.0}
    points = [(alone, _work(4)), (alone, _work(8)), (alone, _work(6))]
    phases = curve_phases(points, together=True)
    # 60 s, without the teacher's passes of the shorter trainings: 4 and 6 steps of 0.5 s
    assert phases == {"teacher-fed": 9.0, "scoring": 2.0, "fine-tuning": 55.0, "evaluation": 3.0}
    assert curve_phases(points, together=False)["fine-tuning"] == 60.0
    assert curve_phases(points[:1], together=True) == alone
