"""What a run found out. Every figure names its unit; what was not measured is None, with why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.plan import PlannedBlock

__all__ = ["BlockResult", "NetworkResult", "PhaseResult", "RunResult", "block_result"]


@dataclass(frozen=True)
class BlockResult:
    """One block: its replacement, or the reason why it keeps the teacher's segment.

    Losses are the mean of each epoch. `solo_drop` is the validation accuracy that the teacher
    loses with this replacement alone swapped in (a share: 0.01 is one point), None where that was
    not scored. `job_seconds` is the time of the job that trained it, which the job's blocks shared.
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


@dataclass(frozen=True)
class NetworkResult:
    """A network's size, speed and test accuracy (a share, 0 to 1). MACs are of one image.

    Latencies are seconds for a batch of `latency_batch` images on the run's device.
    """

    name: str
    accuracy: float
    parameters: int
    macs: int
    latency_median_seconds: float
    latency_p95_seconds: float
    latency_batch: int


@dataclass(frozen=True)
class PhaseResult:
    """What a phase took. Joules by domain are None where `joules_reason` says why."""

    name: str
    seconds: float
    cpu_seconds: float
    joules: dict[str, float] | None
    joules_reason: str | None


@dataclass(frozen=True)
class RunResult:
    """A whole run. `accuracies` are shares on the test split, by the student's stage.

    A stage that was skipped is None, and `notes` says why; `notes` also holds what was decided on
    the validation split.
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

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, for JSON."""
        return asdict(self)


def block_result(planned: PlannedBlock, training: Mapping[str, Any] | None = None) -> BlockResult:
    """Return a block's result from its plan and, where it was trained, its `block` event."""
    return BlockResult(
        name=planned.block.name,
        input_shape=planned.block.input_shape,
        output_shape=planned.block.output_shape,
        parameters_before=planned.parameters_before,
        parameters_after=planned.parameters_after,
        macs_before=planned.macs_before,
        macs_after=planned.macs_after,
        replaced=training is not None,
        reason=planned.reason,
        worker=training["worker"] if training else None,
        job_seconds=training["job_seconds"] if training else None,
        teacher_fed_losses=tuple(training["losses"]) if training else (),
        student_fed_losses=(),
        solo_drop=None,
    )
