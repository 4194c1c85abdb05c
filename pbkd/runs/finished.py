"""A finished run, read from its folder: the result and the baselines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pbkd.core.baselines import BaselineResult
from pbkd.core.energy_results import EnergyResult
from pbkd.core.records import read_record
from pbkd.core.results import BlockResult, RunResult
from pbkd.errors import RunFolderError
from pbkd.runs.baselines import read_baselines
from pbkd.runs.folder import is_finished

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pbkd.core.intervals import Interval


__all__ = ["Finished", "read_finished"]

_MOST = 1e18
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


def read_finished(folder: Path) -> Finished:
    """Read a finished run, which may be untrusted.

    Raises:
        RunFolderError: No run has finished in `folder`, or a file is damaged.
    """
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
    try:
        _check_figures(list(_figures(result)))
        _check_shapes(result)
    except ValueError as error:
        raise RunFolderError(f"'{path}' is not a result of this version of pbkd.") from error
    return result


def _figures(result: RunResult) -> Iterator[Any]:
    """Yield every figure that is used in computations."""
    for network in (result.teacher, result.student):
        yield from (network.parameters, network.macs)
        yield from (s for s in (network.accuracy, network.agreement) if s is not None)
        yield from (network.weight_bytes or 0,)
        for latency in network.latencies:
            yield from (latency.batch, latency.median_seconds, latency.p95_seconds)
    for shares in (result.accuracies, result.validation, result.agreements):
        yield from (share for share in shares.values() if share is not None)
    for block in (*result.blocks, *result.candidates):
        yield from _block_figures(block)
    for phase in result.phases:
        yield from (phase.seconds, phase.cpu_seconds, phase.predicted_seconds or 0.0)
        yield from (phase.joules or {}).values()
    if result.energy:
        yield from _energy_figures(result.energy)
    yield from (result.test_images or 0, result.validation_images or 0)
    if change := result.change:
        yield from (change.both_correct, change.lost, change.gained, change.both_wrong)
        yield change.images - 1  # it has at least one
    for score in result.classes:
        yield from (score.label, score.images, score.teacher_correct, score.student_correct)


def _energy_figures(energy: EnergyResult) -> Iterator[Any]:
    """Yield the figures that cannot be negative; joules above idle can, by chance."""
    figures = [energy.idle_seconds, energy.all_devices.joules, energy.in_use.joules]
    figures += [f for domain in energy.domains for f in (domain.joules, domain.idle_watts)]
    figures += [f for worker in energy.workers for f in (worker.joules or {}).values()]
    yield from (figure for figure in figures if figure is not None)


def _block_figures(block: BlockResult) -> Iterator[Any]:
    yield from (block.parameters_before, block.parameters_after)
    yield from (block.macs_before, block.macs_after)
    yield from (*block.input_shape, *block.output_shape)
    yield from (*block.teacher_fed_losses, *block.student_fed_losses)
    yield from (figure for figure in (block.worker, block.job_seconds) if figure is not None)


def _check_shapes(result: RunResult) -> None:
    """Check the figures that may be negative; raises `ValueError`."""
    blocks = (*result.blocks, *result.candidates)
    signed = [harm for block in blocks for harm in (block.solo_drop, block.solo_divergence)]
    for low, high in _intervals(result):
        signed += [low, high]
    if energy := result.energy:
        signed += [energy.all_devices.above_idle, energy.in_use.above_idle]
        signed += [domain.above_idle for domain in energy.domains]
    if not all(math.isfinite(figure) for figure in signed if figure is not None):
        raise ValueError("a figure is not finite")
    if len(result.teacher.latencies) != len(result.student.latencies):
        raise ValueError("teacher and student have latencies of different batches")


def _intervals(result: RunResult) -> Iterator[Interval]:
    blocks = (*result.blocks, *result.candidates)
    some = [result.teacher.interval, result.student.interval, *(b.solo_interval for b in blocks)]
    if result.change:
        some.append(result.change.interval)
    yield from (interval for interval in some if interval is not None)


def _check_figures(figures: list[Any]) -> None:
    """Check numbers from 0 to 1e18; raises `ValueError`."""
    if not all(0 <= figure <= _MOST for figure in figures):
        raise ValueError("a figure is out of range")
