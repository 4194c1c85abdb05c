"""The result of a curve: students of several sizes beside their teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pbkd.core.results import NetworkResult, PhaseResult
from pbkd.core.scores import PairedChange
from pbkd.core.wishes import Wish

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["READY", "STUDENT", "TEACHER", "CurvePoint", "CurveResult", "mark_dominated"]

_NOISE = 0.03  # of milliseconds
STUDENT, TEACHER, READY = "student", "teacher", "ready"


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A network on a curve.

    Attributes:
        name: The name of a student's point, its share of the teacher's MACs; else the network's.
        kind: `student`, `teacher`, or `ready` for a network that needed no training.
        network: Its size, speed and test score.
        change: The change of test accuracy from the teacher to a student.
        wishes: What was asked of a student.
        joules: Joules by domain of a student's phases, those included that it shares with others;
            None if nothing was measured.
        joules_reason: Which joules are missing, and why.
        dominated_by: The name of a network that has at most as many MACs, parameters, bytes and (up
            to 3 %) milliseconds, scores at least as well, and is better in one of these; None if
            there is none.
    """

    name: str
    kind: str
    network: NetworkResult
    change: PairedChange | None = None
    wishes: tuple[Wish, ...] = ()
    joules: Mapping[str, float] | None = None
    joules_reason: str | None = None
    dominated_by: str | None = None

    @property
    def score(self) -> float | None:
        """Its accuracy; without labels, a student's agreement with the teacher."""
        network = self.network
        return network.score

    @property
    def milliseconds(self) -> dict[int, float]:
        """Milliseconds of a forward pass, by the images of a batch."""
        return {each.batch: 1000 * each.median_seconds for each in self.network.latencies}


@dataclass(frozen=True, kw_only=True)
class CurveResult:
    """The result of a curve.

    Attributes:
        folder: Name of its folder; the students are in `points`.
        command: The command that repeats it.
        points: The teacher, the students from the largest to the smallest, ready networks.
        score_name: What the scores are.
        test_images: Number of test images.
        phases: Time and energy of each phase, of all points together.
        notes: Remarks.
        resumed: How often the curve was resumed; its seconds are those since.
    """

    folder: str
    command: str
    points: tuple[CurvePoint, ...]
    score_name: str
    test_images: int
    phases: tuple[PhaseResult, ...]
    notes: tuple[str, ...]
    resumed: int = 0

    @property
    def students(self) -> tuple[CurvePoint, ...]:
        """The points that were trained."""
        return tuple(point for point in self.points if point.kind == STUDENT)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as nested dictionaries that JSON can hold, without networks."""
        plain = [replace(p, network=replace(p.network, network=None)) for p in self.points]
        tree = asdict(replace(self, points=tuple(plain)))
        for point in tree["points"]:
            del point["network"]["network"]
        return tree


def mark_dominated(points: Sequence[CurvePoint]) -> tuple[CurvePoint, ...]:
    """Return points with the name of one that dominates each, if there is one."""
    marked = []
    for point in points:
        better = (other.name for other in points if _dominates(other, point))
        marked.append(replace(point, dominated_by=next(better, None)))
    return tuple(marked)


def _dominates(one: CurvePoint, other: CurvePoint) -> bool:
    """Compare scores, sizes and speed; two measurements of a speed differ by some per cent."""
    if one.score is None or other.score is None:
        return False
    pairs = [(-one.score, -other.score), *zip(_costs(one), _costs(other), strict=True)]
    times, others = one.milliseconds, other.milliseconds
    ratios = [times[batch] / others[batch] for batch in times.keys() & others.keys()]
    no_worse = all(a <= b for a, b in pairs) and all(ratio <= 1 + _NOISE for ratio in ratios)
    better = any(a < b for a, b in pairs) or any(ratio < 1 - _NOISE for ratio in ratios)
    return no_worse and better


def _costs(point: CurvePoint) -> tuple[float, ...]:
    network = point.network
    return network.macs, network.parameters, network.weight_bytes or 0
