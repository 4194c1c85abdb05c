from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from pbkd_milp import MilpSelector

from pbkd.config.schema import TargetConfig
from pbkd.planning import tries
from pbkd.planning.budget import Picked
from pbkd.planning.limits import likely_targets
from pbkd.planning.tries import Try, cheapest_share, harm_to_try

if TYPE_CHECKING:
    from pbkd.planning.plan import Candidates
    from pbkd.training.task import DistillationTask


def tried(lost: float, half: float = 0.2) -> Try:
    return Try(0.3, 8.0, lost, lost - half, lost + half)


def test_the_first_student_has_the_harm_that_training_is_likely_to_undo() -> None:
    # All candidates lose 10 points and do a harm of 5; of 2 points, a quarter of 4 may be lost.
    assert harm_to_try((), 2.0, (10.0, 5.0)) == pytest.approx(2.0)
    assert harm_to_try((), 2.0, (0.0, 5.0)) == math.inf


@pytest.mark.parametrize(
    ("lost", "half", "harm"),
    [
        (1.6, 0.2, 4.0),  # half of what was lost leaves the interval below a point
        (1.0, 0.2, 6.0),  # at least a quarter less
        (40.0, 0.2, 2.0),  # at least a quarter of it
        (0.0, 1.5, 6.0),  # nothing was lost, as far as few images tell
        (0.5, 0.8, 4.0),  # the aim is a quarter of a point at least
    ],
)
def test_the_next_student_has_less_harm_as_the_last_one_tells(
    lost: float, half: float, harm: float
) -> None:
    assert harm_to_try((tried(9), tried(lost, half)), 1.0, (1, 1)) == pytest.approx(harm)


def test_the_share_is_the_least_within_which_a_choice_has_so_little_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def picked(target: TargetConfig, *_: object) -> Picked:
        """A choice within fewer MACs does more harm; below a tenth there is none."""
        assert target.macs is not None
        name = "dear" if target.macs >= 0.37 else "cheap"
        return Picked({"a": name, "b": None}, target.macs >= 0.1)

    monkeypatch.setattr(tries, "pick_candidates", picked)
    task, plan = cast("DistillationTask", SimpleNamespace()), cast("Candidates", SimpleNamespace())
    harms, selector = {"dear": 1.0, "cheap": 3.0}, MilpSelector()
    for most, share in ((1.0, 0.37), (2.9, 0.37), (3.0, 0.1), (0.9, 1.0)):
        found = cheapest_share(TargetConfig(), task, plan, harms, selector, most)
        assert found == share, most


def test_candidates_for_several_sizes_are_guessed_where_only_the_loss_is_limited() -> None:
    shares = [target.macs or 0.0 for target in likely_targets(TargetConfig(max_drop=1.0))]
    assert shares == sorted(set(shares))
    assert len(shares) > 2
    both = TargetConfig(max_drop=1.0, speedup=2.0)
    assert likely_targets(both) == [both]
