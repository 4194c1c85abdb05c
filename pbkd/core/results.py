"""Results of a run: figures with their units; a figure that was not measured is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pbkd.core.energy_results import EnergyResult
from pbkd.core.intervals import Interval
from pbkd.core.plain_data import IN_MEMORY
from pbkd.core.scores import ClassScore, PairedChange
from pbkd.core.wishes import Wish

if TYPE_CHECKING:
    from torch import nn


__all__ = [
    "BlockResult",
    "ExportResult",
    "Latency",
    "NetworkResult",
    "PhaseResult",
    "RunResult",
]


@dataclass(frozen=True, kw_only=True)
class BlockResult:
    """A block: its replacement, or the reason why it keeps the teacher's segment.

    Attributes:
        name: Name of the block, or of the candidate.
        input_shape: Shape of one sample of its input.
        output_shape: Shape of one sample of its output.
        parameters_before: Parameters of the teacher's segment.
        parameters_after: Parameters of what the student has in its place.
        macs_before: Multiply-accumulate operations of the teacher's segment, for one image.
        macs_after: The same of what the student has in its place.
        replaced: Whether the student has the replacement; None until it is decided.
        reason: Why it has not.
        worker: Rank of the worker that trained the replacement.
        job_seconds: Duration of the training job, which the job's blocks share.
        teacher_fed_losses: Mean loss of each teacher-fed epoch.
        student_fed_losses: Mean loss of each student-fed epoch.
        solo_drop: Validation accuracy that the teacher loses with this replacement alone swapped
            in, as a share (0.01 is one point); None if it was not scored.
        first_failure: Why it was trained a second time.
        solo_divergence: Kullback-Leibler divergence, in nats, of the teacher's predictions with
            this replacement alone swapped in; None if it was not scored.
        builder: Name and options of the builder.
        solo_interval: 95 % interval of `solo_drop`.
        solo_images: Number of images behind both.
    """

    name: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int
    replaced: bool | None
    reason: str | None
    worker: int | None
    job_seconds: float | None
    teacher_fed_losses: tuple[float, ...]
    student_fed_losses: tuple[float, ...]
    solo_drop: float | None
    first_failure: str | None = None
    solo_divergence: float | None = None
    builder: Mapping[str, Any] = field(default_factory=dict)
    solo_interval: Interval | None = None
    solo_images: int | None = None


@dataclass(frozen=True)
class Latency:
    """Duration of a forward pass.

    Attributes:
        median_seconds: Median of the passes.
        p95_seconds: 95th percentile of the passes.
        batch: Images per pass.
        repeats: Number of passes.
        engine: What executed the network.
    """

    median_seconds: float
    p95_seconds: float
    batch: int
    repeats: int
    engine: str = "torch"


@dataclass(frozen=True, kw_only=True)
class NetworkResult:
    """Size, speed and test score of a network.

    Attributes:
        name: Name of the network.
        accuracy: Test accuracy, a share from 0 to 1; None without labels.
        parameters: Number of parameters.
        macs: Multiply-accumulate operations for one image.
        latencies: Latency of one image and of a batch of the run, on the run's device; of the
            target's batch, too, if that is another or counts in another engine.
        agreement: Without labels, the share of test images to which a student gives its teacher's
            class.
        weight_bytes: Size of parameters and buffers; None in results of older versions.
        interval: 95 % interval of the accuracy, or of a student's agreement without labels.
        network: The student itself, in the result that a run returns; never written to a file.
    """

    name: str
    accuracy: float | None
    parameters: int
    macs: int
    latencies: tuple[Latency, ...]
    agreement: float | None = None
    weight_bytes: int | None = None
    interval: Interval | None = None
    network: nn.Module | None = field(default=None, metadata=IN_MEMORY, repr=False, compare=False)

    @property
    def score(self) -> float | None:
        """The accuracy, or, without labels, a student's agreement with its teacher."""
        return self.agreement if self.accuracy is None else self.accuracy


@dataclass(frozen=True)
class PhaseResult:
    """Time and energy of a phase.

    Attributes:
        name: Name of the phase.
        seconds: Duration.
        cpu_seconds: CPU time of the host and the workers.
        joules: Joules by domain; None if nothing was measured.
        joules_reason: Which joules are missing, and why.
        predicted_seconds: The duration that was predicted before training; None if none was, and
            for planning itself.
    """

    name: str
    seconds: float
    cpu_seconds: float
    joules: dict[str, float] | None
    joules_reason: str | None
    predicted_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """An exported network, measured in the engine that executes its format.

    Attributes:
        network: `teacher` or `student`.
        format: Name of the format.
        file: Name of the file; None if it was written for the comparison only.
        bytes: Size of the file.
        score: Test accuracy as a share from 0 to 1, or, without labels, agreement with the teacher.
            Of a format that does not change the outputs it is the network's.
        latencies: Latency of one image and of a batch of the run, on the CPU.
        threads: CPU threads.
    """

    network: str
    format: str
    file: str | None
    bytes: int
    score: float | None
    latencies: tuple[Latency, ...]
    threads: int


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The result of a run.

    Attributes:
        folder: Name of the run folder.
        command: The command that repeats the run.
        teacher: The teacher's figures.
        student: The student's figures.
        accuracies: Test accuracy of the student after each stage, as a share from 0 to 1; None for
            a stage that was skipped, and without labels.
        blocks: One result per block.
        phases: Time and energy of each phase.
        notes: Decisions made on the validation split, and why stages were skipped.
        environment: Versions and hardware.
        candidates: Results of all candidates, if blocks had several.
        validation: The score of each stage on the validation split, on which all decisions were
            made: accuracy, or agreement without labels.
        agreements: Without labels, the share of test images to which the student gives its
            teacher's class, after each stage.
        accuracy_reason: Why there are no accuracies.
        energy: Energy of the run; None in results of older versions.
        test_images: Number of test images; this and the figures below are missing in results of
            older versions.
        validation_images: Number of validation images.
        change: The change of test accuracy from teacher to student; None without labels.
        classes: The test accuracy by class; none without labels.
        preparation: How a picture becomes the student's input, a sentence for each step.
        class_names: The name of every class; None if they are unknown.
        resumed: How often the run was resumed; its seconds are those since.
        events: Number of events in each file of the run folder's `events`.
        wishes: The target's limits, and whether the student keeps them.
        exports: The exported student beside the float student's and the teacher's own export.
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
    test_images: int | None = None
    validation_images: int | None = None
    change: PairedChange | None = None
    classes: tuple[ClassScore, ...] = ()
    preparation: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = None
    resumed: int = 0
    events: Mapping[str, int] = field(default_factory=dict)
    wishes: tuple[Wish, ...] = ()
    exports: tuple[ExportResult, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the result as nested dictionaries that JSON can hold, without the network."""
        tree = asdict(replace(self, student=replace(self.student, network=None)))
        for role in ("teacher", "student"):
            del tree[role]["network"]
        return tree
