"""A finished run, read from its folder: the result and the baselines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.core.baselines import BaselineResult
from pbkd.core.events import CurveFinished, RunFinished
from pbkd.core.plausible_numbers import is_plausible
from pbkd.core.records import read_record
from pbkd.core.results import RunResult
from pbkd.errors import RunFolderError
from pbkd.runs.baselines import read_baselines
from pbkd.runs.curves import is_finished_curve, read_curve, run_of
from pbkd.runs.folder import is_finished

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["Finished", "finished_event", "read_finished"]

_BLOCKWISE = ("teacher-fed", "student-fed", "retry")
_NO_TRAINING = ("planning", "evaluation")


@dataclass(frozen=True)
class Finished:
    """A finished run.

    Attributes:
        name: The name of its folder.
        result: The result.
        baselines: The baselines, by name.
        resumed: Whether the run was resumed. Its seconds are then None, because its phases were
            measured only since.
    """

    name: str
    result: RunResult
    baselines: dict[str, BaselineResult]
    resumed: bool

    @property
    def seconds(self) -> float | None:
        """Seconds of the whole run."""
        return self._sum(phase.seconds for phase in self.result.phases)

    @property
    def predicted_seconds(self) -> float | None:
        """Predicted seconds of the whole run: planning as measured, and what it predicted."""
        phases = self.result.phases
        if all(phase.predicted_seconds is None for phase in phases):
            return None
        return self._sum(
            phase.seconds if phase.predicted_seconds is None else phase.predicted_seconds
            for phase in phases
        )

    @property
    def strongest(self) -> BaselineResult | None:
        """The baseline with the best test score; None if there is none."""
        return max(self.baselines.values(), key=lambda row: row.score, default=None)

    @property
    def training_cpu_seconds(self) -> float | None:
        """CPU seconds of all phases except planning and evaluation."""
        phases = self.result.phases
        return self._sum(phase.cpu_seconds for phase in phases if phase.name not in _NO_TRAINING)

    @property
    def training_seconds(self) -> float | None:
        """Seconds of all phases except planning and evaluation."""
        phases = self.result.phases
        return self._sum(phase.seconds for phase in phases if phase.name not in _NO_TRAINING)

    @property
    def blockwise_seconds(self) -> float | None:
        """Seconds of the blockwise phases."""
        phases = self.result.phases
        return self._sum(phase.seconds for phase in phases if phase.name in _BLOCKWISE)

    @property
    def fine_tuning_seconds(self) -> float | None:
        """Seconds of fine-tuning."""
        phases = self.result.phases
        return self._sum(phase.seconds for phase in phases if phase.name == "fine-tuning")

    def _sum(self, seconds: Iterator[float]) -> float | None:
        return None if self.resumed else sum(seconds)


def finished_event(folder: Path) -> RunFinished | CurveFinished:
    """Return the event that a run, or a curve, has finished; raise as `read_finished`."""
    if is_finished_curve(folder):
        return CurveFinished(result=read_curve(folder))
    return RunFinished(result=read_finished(folder).result)


def read_finished(folder: Path) -> Finished:
    """Read a finished run, which may be untrusted; of a curve, the picked point.

    Raises:
        RunFolderError: No run has finished in `folder`, no point was picked, or a file is damaged.
    """
    folder = run_of(folder)
    if not is_finished(folder):
        raise RunFolderError(
            f"'{folder}' holds no finished run: name the folder of a run that wrote result.json and"
            f" README.md (`pbkd status FOLDER` shows its progress)."
        )
    result = _read_result(folder / "result.json")
    baselines = read_baselines(folder)
    return Finished(folder.resolve().name, result, baselines, result.resumed > 0)


def _read_result(path: Path) -> RunResult:
    result: RunResult = read_record(path, RunResult, "a result")
    if not _is_sound(result):
        raise RunFolderError(f"'{path}' is not a result of this version of pbkd.")
    return result


def _is_sound(result: RunResult) -> bool:
    """Whether the figures are in their ranges, and fit each other."""
    return (
        is_plausible("result", result)
        and (result.change is None or result.change.images > 0)
        and len(result.teacher.latencies) == len(result.student.latencies)
    )
