"""The progress of a whole network's training as events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.core.events import EpochDone, JobStarted, Note
from pbkd.training.throughput import begin_job

if TYPE_CHECKING:
    from pbkd.core.events import Emit
    from pbkd.training.throughput import Pace


__all__ = ["TrainingEvents"]


@dataclass(frozen=True, kw_only=True)
class TrainingEvents:
    """Emits the events of a training; `TrainingHooks` takes its methods.

    Attributes:
        emit: Gets the events.
        phase: The phase.
        network: What is trained.
        epochs: All epochs.
        images: Images per step of this process.
        worker: The worker's rank; None in the host process.
    """

    emit: Emit
    phase: str
    network: str
    epochs: int
    images: int
    worker: int | None = None

    def start_pace(self, begun: int, steps: int) -> Pace:
        """Emit that the training begins; return what counts its steps."""
        return begin_job(self.job(begun, steps), self.emit)

    def job(self, begun: int, steps: int) -> JobStarted:
        """Return the event that the training begins, after `begun` epochs of `steps` steps."""
        return JobStarted(
            worker=self.worker,
            phase=self.phase,
            blocks=(self.network,),
            begun=begun,
            epochs=self.epochs,
            steps=steps,
            images=self.images,
        )

    def epoch_finished(self, epoch: int, loss: float, score: float) -> None:
        """Emit that an epoch, counted from 0, has ended."""
        event = EpochDone(
            worker=self.worker,
            phase=self.phase,
            block=self.network,
            epoch=epoch + 1,
            loss=loss,
            accuracy=score,
        )
        self.emit(event)

    def rate_lowered(self, why: str) -> None:
        """Emit that the learning rate was lowered, with the reason."""
        self.emit(Note(text=f"{self.phase.capitalize()}: {why[0].lower()}{why[1:]}"))
