"""What a run found out. Every figure names its unit; what was not measured is None, with why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn


__all__ = [
    "BaselineResult",
    "BlockResult",
    "DomainEnergy",
    "EnergyResult",
    "EnergySum",
    "Latency",
    "NetworkResult",
    "PhaseResult",
    "RunResult",
    "WorkerEnergy",
]


@dataclass(frozen=True)
class BlockResult:
    """One block: its replacement, or the reason why it keeps the teacher's segment.

    `builder` is the choice that built the replacement. Losses are the mean of each epoch.
    `solo_drop` is the validation accuracy that the teacher loses with this replacement alone
    swapped in (a share: 0.01 is one point), `solo_divergence` how far its answers then are from
    its own (Kullback-Leibler, in nats), both None where that was not scored. `job_seconds` is the
    time of the job that trained it, which the job's blocks shared. `first_failure` says why it was
    trained a second time.
    """

    name: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int
    replaced: bool
    reason: str | None
    worker: int | None
    job_seconds: float | None
    teacher_fed_losses: tuple[float, ...]
    student_fed_losses: tuple[float, ...]
    solo_drop: float | None
    first_failure: str | None = None
    solo_divergence: float | None = None
    builder: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Latency:
    """Seconds for one forward pass of `batch` images, over `repeats` passes."""

    median_seconds: float
    p95_seconds: float
    batch: int
    repeats: int


@dataclass(frozen=True)
class NetworkResult:
    """A network's size, speed and test accuracy (a share, 0 to 1). MACs are of one image.

    `latencies` are those of a single image and of a batch of the run, on the run's device. Without
    labels `accuracy` is None, and `agreement`, a student's, the share of test images to which it
    gives its teacher's class. `weight_bytes` are those of its parameters and buffers, None in
    results of versions that did not count them. `network` is the student itself, as a run returns
    it; no file has it.
    """

    name: str
    accuracy: float | None
    parameters: int
    macs: int
    latencies: tuple[Latency, ...]
    agreement: float | None = None
    weight_bytes: int | None = None
    network: nn.Module | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class PhaseResult:
    """What a phase took. Joules by domain are None where `joules_reason` says why."""

    name: str
    seconds: float
    cpu_seconds: float
    joules: dict[str, float] | None
    joules_reason: str | None


@dataclass(frozen=True)
class DomainEnergy:
    """What a sensor, or an estimate, says of a whole run, from its first phase to its last one.

    `device` is the one, as torch names it, whose sensor that is, where it is known. `estimate` says
    how the joules are worked out where nothing measures them. `joules` have the power in them that
    would have been drawn anyway; `above_idle` are what is left without `idle_watts`, the mean power
    of a rest before the run. What is None has its reason in `reason`.
    """

    name: str
    meter: str
    device: str | None
    estimate: str | None
    idle_watts: float | None
    joules: float | None
    above_idle: float | None
    reason: str | None


@dataclass(frozen=True)
class EnergySum:
    """Measured joules of some domains together, without estimates.

    `reason` says why a sum is None, or which meters are not in it.
    """

    domains: tuple[str, ...]
    joules: float | None
    above_idle: float | None
    reason: str | None


@dataclass(frozen=True)
class WorkerEnergy:
    """Joules of a worker's own device in the blockwise phases, by phase, idle power included.

    A phase that is missing has its reason. Without any they are None: no sensor is that device's,
    or several workers share it.
    """

    rank: int
    device: str
    joules: dict[str, float] | None
    reason: str | None


@dataclass(frozen=True)
class EnergyResult:
    """The energy of a whole run: by domain, with and without idle devices, by worker.

    `in_use` leaves out what `all_devices` has of devices on which nothing was done. `idle_seconds`
    is how long idle power was measured for, before the run; None where no sensor could be read.
    """

    domains: tuple[DomainEnergy, ...]
    all_devices: EnergySum
    in_use: EnergySum
    workers: tuple[WorkerEnergy, ...]
    idle_seconds: float | None


@dataclass(frozen=True)
class RunResult:
    """A whole run. `accuracies` are shares on the test split, by the student's stage.

    `validation` has the same on the validation split, by which everything was chosen. Where there
    are no labels, accuracies are None, `accuracy_reason` says so, `agreements` has the share of
    test images to which the student gives its teacher's class, by stage, and `validation` the same.

    `blocks` has one result for each block; `candidates` has those of all candidates, where blocks
    had several.

    A stage that was skipped is None, and `notes` says why; `notes` also holds what was decided on
    the validation split. `energy` is None in results of versions that did not work it out.
    """

    folder: str
    command: str
    teacher: NetworkResult
    student: NetworkResult
    accuracies: dict[str, float | None]
    blocks: tuple[BlockResult, ...]
    phases: tuple[PhaseResult, ...]
    notes: tuple[str, ...]
    environment: dict[str, str]
    candidates: tuple[BlockResult, ...] = ()
    validation: dict[str, float | None] = field(default_factory=dict)
    agreements: dict[str, float | None] = field(default_factory=dict)
    accuracy_reason: str | None = None
    energy: EnergyResult | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, for JSON."""
        figures = replace(self, student=replace(self.student, network=None))
        tree = asdict(figures)
        for role in ("teacher", "student"):
            del tree[role]["network"]
        return tree


@dataclass(frozen=True)
class BaselineResult:
    """A run's own student trained in an ordinary way, from random weights.

    `method` is scratch or distillation. Accuracies are shares: on the test split, and on the
    validation split, by which the epoch was chosen. `seconds` were spent, `seconds_given` allowed;
    `note` says what else is to be known.
    """

    method: str
    accuracy: float
    validation_accuracy: float
    seconds: float
    seconds_given: float
    epochs: int
    lr: float
    weight_decay: float
    seed: int
    command: str
    note: str | None
    optimiser: str = "adamw"
