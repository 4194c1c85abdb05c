"""Whole runs, by phases: the paper's procedure, one worker, and two workers."""

from __future__ import annotations

import os
import platform
import shlex
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pbkd.bench.presets import find_preset
from pbkd.bench.result import Spread
from pbkd.bench.rig import calibrate
from pbkd.bench.run_checks import PhaseSteps, check_phase_steps, check_students
from pbkd.config.load import load_config
from pbkd.core.events import JobStarted
from pbkd.core.process import thread_count
from pbkd.models.teacher import build_network
from pbkd.models.weights import write_weights
from pbkd.pipeline.run import run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.bench.presets import Preset
    from pbkd.config.schema import RunConfig
    from pbkd.core.events import Event
    from pbkd.core.results import RunResult
    from pbkd.plugin.registry import Registry

__all__ = ["ALONE", "PAPER", "TOGETHER", "EndToEnd", "WholeRunTimes", "run_end_to_end"]

PAPER, ALONE, TOGETHER = "paper", "1 worker", "2 workers"
_STEPS = 16  # per epoch
_EPOCHS = {"distill.epochs": 2, "distill.student_fed_epochs": 1, "finetune.epochs": 4}
_BY_PROCEDURE = {
    PAPER: {
        "workers": 1,
        "scheduler": "lpt-scheduler",
        "distill.epochs": 3,  # all blockwise epochs are teacher-fed
        "distill.student_fed_epochs": 0,
    },
    ALONE: {"workers": 1, "scheduler": "pipeline"},
    TOGETHER: {"workers": 2, "scheduler": "pipeline"},
}


@dataclass(frozen=True)
class WholeRunTimes:
    """The seconds of a procedure's runs.

    Attributes:
        phases: Seconds of each phase, by round.
        predicted: Seconds that were predicted for each phase, by round; none for planning.
        shared: The phases in which more than one worker took part, by round.
    """

    phases: Mapping[str, Sequence[float]]
    predicted: Mapping[str, Sequence[float]]
    shared: Sequence[Sequence[str]]

    @property
    def seconds(self) -> list[float]:
        """Seconds of the whole run, by round."""
        return [sum(each) for each in zip(*self.phases.values(), strict=True)]

    @property
    def off(self) -> float:
        """The median, over the rounds, of the relative error of the prediction without planning."""
        phases = [self.phases[name] for name in self.predicted]
        planned = [sum(each) for each in zip(*self.predicted.values(), strict=True)]
        measured = [sum(each) for each in zip(*phases, strict=True)]
        errors = [a / b - 1 for a, b in zip(planned, measured, strict=True)]
        return float(statistics.median(errors))


@dataclass(frozen=True, kw_only=True)
class EndToEnd:
    """The figures of whole runs.

    Attributes:
        preset: Name of the preset.
        rounds: How often each procedure ran.
        command: The command line.
        environment: Version of torch, machine.
        procedures: The seconds of each procedure.
    """

    preset: str
    rounds: int
    command: str
    environment: Mapping[str, str]
    procedures: Mapping[str, WholeRunTimes]

    def ratio(self, slow: str, fast: str, phase: str | None = None) -> Spread:
        """Return how many times as long one procedure takes as another, compared round by round."""
        one, other = (
            times.seconds if phase is None else times.phases[phase]
            for times in (self.procedures[slow], self.procedures[fast])
        )
        return Spread.of(a / b for a, b in zip(one, other, strict=True))

    @property
    def parallel_share(self) -> float:
        """The share, in the run on one worker, of phases that two share; the median of rounds."""
        alone, rounds = self.procedures[ALONE], enumerate(self.procedures[TOGETHER].shared)
        seconds = [sum(alone.phases[name][number] for name in shared) for number, shared in rounds]
        shares = [some / whole for some, whole in zip(seconds, alone.seconds, strict=True)]
        return float(statistics.median(shares))

    @property
    def expected_speedup(self) -> float:
        """What Amdahl's law gives for two workers with this share."""
        share = self.parallel_share
        return 1 / (1 - share + share / 2)


def run_end_to_end(registry: Registry, name: str, folder: Path, rounds: int) -> EndToEnd:
    """Run every procedure in turn, round by round, with one thread per worker.

    Args:
        registry: The plugins.
        name: The preset; its teacher has random weights, and learns from generated images.
        folder: Gets the run folders.
        rounds: Number of times that each procedure runs.

    Returns:
        The seconds of all phases.

    Raises:
        BenchError: If a phase did not take all steps, or the students of one and two workers
            differ.
    """
    preset = find_preset(name)
    weights = folder / "teacher.safetensors"
    _write_teacher(registry, preset, weights)
    runs: dict[str, list[_CheckedRun]] = {each: [] for each in _BY_PROCEDURE}
    for _ in range(rounds):
        folders = {}
        for procedure, changes in _BY_PROCEDURE.items():
            config = _config(preset, weights, folder / "runs", changes)
            checked = _checked_run(procedure, config, registry)
            folders[procedure] = Path(checked.result.folder)
            runs[procedure].append(checked)
        check_students(folders[ALONE], folders[TOGETHER])
    return EndToEnd(
        preset=name,
        rounds=rounds,
        command=shlex.join(["pbkd", *sys.argv[1:]]),
        environment={
            "torch": torch.__version__,
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        },
        procedures={procedure: _times(each) for procedure, each in runs.items()},
    )


@dataclass(frozen=True)
class _CheckedRun:
    """A result, and the phases in which a second worker began a job."""

    result: RunResult
    shared: tuple[str, ...]


def _checked_run(procedure: str, config: RunConfig, registry: Registry) -> _CheckedRun:
    """Run once; if this process trains, check the steps that it took."""
    steps = PhaseSteps()
    shared: dict[str, None] = {}

    def see(event: Event) -> None:
        steps.see(event)
        if isinstance(event, JobStarted) and event.worker:
            shared[event.phase] = None

    with thread_count(1), steps.counting():
        result = run(config, registry, see)
    if config.workers == 1:
        blocks = sum(bool(block.replaced) for block in result.blocks)
        check_phase_steps(procedure, config, steps.counts, blocks, _STEPS)
    return _CheckedRun(result, tuple(shared))


def _write_teacher(registry: Registry, preset: Preset, path: Path) -> None:
    """Write random weights, with which all workers of all runs begin."""
    torch.manual_seed(0)
    network = build_network(registry, preset.teacher)
    calibrate(network, torch.randn(preset.batch_size, *preset.image_shape))
    write_weights(path, network.state_dict())


def _config(preset: Preset, weights: Path, out: Path, changes: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of a run of a few steps; every replacement is accepted."""
    channels, height, width = preset.image_shape
    images = -(-_STEPS * preset.batch_size * 10 // 9)  # a tenth is held out for validation
    data = {"name": "synthetic", "channels": channels, "height": height, "width": width}
    settings = {
        "teacher": {**preset.teacher, "weights": str(weights)},
        "data": {**data, "count": images},
        "builder": preset.builder,
        "batch_size": preset.batch_size,
        "threads": 1,
        "device": "cpu",
        "meters": [],
        "target": {"block_drop": 100},
        "allow_chance": True,
        "recalibrate_batches": 4,
        "out": str(out),
        **_EPOCHS,
        **changes,
    }
    return load_config([f"{key}={_yaml(value)}" for key, value in settings.items()])


def _yaml(value: Any) -> str:
    """Write a value as YAML in one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_yaml(each)}' for key, each in value.items())}}}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _times(rounds: Sequence[_CheckedRun]) -> WholeRunTimes:
    phases: dict[str, list[float]] = {}
    predicted: dict[str, list[float]] = {}
    for each in rounds:
        for phase in each.result.phases:
            phases.setdefault(phase.name, []).append(phase.seconds)
            if phase.predicted_seconds is not None:
                predicted.setdefault(phase.name, []).append(phase.predicted_seconds)
    return WholeRunTimes(phases, predicted, [each.shared for each in rounds])
