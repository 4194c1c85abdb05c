"""Results of baselines: what other methods make of a run's teacher, at equal cost."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean

from pbkd.core.intervals import Interval
from pbkd.core.results import Latency
from pbkd.core.scores import PairedChange

__all__ = ["BaselineResult", "BaselineTraining"]


@dataclass(frozen=True, kw_only=True)
class BaselineTraining:
    """One training of a baseline's network; a ready network has one of no epochs.

    Attributes:
        lr: Peak learning rate.
        seed: What the order of images, their augmentation and random first weights depend on.
        epochs: Epochs.
        steps: Training steps, as counted.
        seconds: Duration.
        cpu_seconds: CPU time of this process and those that it started.
        validation: Score on the validation split of the epoch whose weights are kept.
        score: Score on the test split.
        change: The paired change on the test images from this network to the run's student.
    """

    lr: float
    seed: int
    epochs: int
    steps: int
    seconds: float
    cpu_seconds: float
    validation: float
    score: float
    change: PairedChange


@dataclass(frozen=True, kw_only=True)
class BaselineResult:
    """What a method other than blockwise distillation reaches, at the cost of the run's student.

    Scores are accuracies from 0 to 1, or, without labels, agreement with the teacher.

    Attributes:
        method: `same-start`, `pruning`, `distillation`, `scratch` or `ready`.
        network: What was trained, in words.
        equal: What equals the student's: `macs`, `milliseconds` or, for a ready network, nothing.
        parameters: Its parameters.
        macs: Its multiply-accumulate operations for one image.
        latencies: Its latency, measured in turns with the student.
        student_latencies: The student's latency in these turns.
        trainings: Every training that ended: each rate with the first seed, then the best rate with
            the other seeds.
        lr: The rate with the best validation score, to which the figures below belong.
        score: Mean score of its trainings on the test split.
        validation: Mean score on the validation split.
        difference: The student's test score minus `score`.
        interval: 95 % interval of `difference`, for the choice of test images.
        threads: CPU threads of the training.
        max_seconds: Seconds that each training may take; None if `max_cpu_seconds` counts.
        max_cpu_seconds: CPU seconds that each training may take; None if `max_seconds` counts.
        optimiser: The optimiser's name.
        weight_decay: The optimiser's weight decay.
        command: The command that repeats it.
        notes: Remarks for the reader, a sentence each.
    """

    method: str
    network: str
    equal: str
    parameters: int
    macs: int
    latencies: tuple[Latency, ...]
    student_latencies: tuple[Latency, ...]
    trainings: tuple[BaselineTraining, ...]
    lr: float
    score: float
    validation: float
    difference: float
    interval: Interval
    threads: int
    max_seconds: float | None
    max_cpu_seconds: float | None
    optimiser: str
    weight_decay: float
    command: str
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The method, and what is equal where it is not the MACs."""
        is_timed = self.equal == "milliseconds"
        return f"{self.method} at equal milliseconds" if is_timed else self.method

    @property
    def best(self) -> tuple[BaselineTraining, ...]:
        """The trainings with the best rate, one per seed."""
        return tuple(training for training in self.trainings if training.lr == self.lr)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest test score among the seeds."""
        scores = [training.score for training in self.best]
        return min(scores), max(scores)

    @property
    def epochs(self) -> int:
        """Epochs of a training."""
        return self.best[0].epochs

    @property
    def seconds(self) -> float:
        """Mean duration of a training with the best rate."""
        return mean(training.seconds for training in self.best)

    @property
    def cpu_seconds(self) -> float:
        """Mean CPU time of a training with the best rate."""
        return mean(training.cpu_seconds for training in self.best)
