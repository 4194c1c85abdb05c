"""One worker's part of scoring: what networks predict on some batches of a split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pbkd.core.events import JobStarted
from pbkd.core.schedule import share_of
from pbkd.data.batching import sequential_images
from pbkd.execution.heartbeat import begin_with_heartbeats
from pbkd.execution.job_queue import claim_jobs
from pbkd.models.accuracy import SCORING_BATCH, classes_of
from pbkd.models.replacement import read_replacement
from pbkd.models.weights import fit_weights, read_weights, write_weights
from pbkd.runs.assignment import EVALUATION, SCORING, STUDENT, TEACHER
from pbkd.runs.events import record_event
from pbkd.training.solo_pass import solo_batch, solo_pass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from torch import Tensor, nn

    from pbkd.core.schedule import Job
    from pbkd.execution.student_part import StudentPart
    from pbkd.training.throughput import Pace


__all__ = ["score_batches"]


@dataclass(frozen=True)
class _Pass:
    """A pass over a split: its batch size, and what it makes of normalised batches."""

    batch_size: int
    compute: Callable[[Iterable[Tensor]], dict[str, Tensor]]


def score_batches(part: StudentPart) -> None:
    """Predict this worker's batches of the phase's split, and write down what was found.

    One worker would make the same batches, so that on the same kind of device, with as many
    threads, the results are equal bit by bit.

    Args:
        part: This worker's part; each of its jobs has the number of a share of the batches.
    """
    passes = list(_passes(part))
    for job in claim_jobs(part.assignment.schedule, part.rank, part.assignment.launch):
        path = part.folder / part.assignment.phase / f"{job.blocks[0]}.safetensors"
        write_weights(path, _score_share(part, job, passes))


def _passes(part: StudentPart) -> Iterator[_Pass]:
    """Yield the passes of the phase: candidates alone in the teacher, and whole networks."""
    assignment, task = part.assignment, part.task
    start = part.folder / assignment.start
    if assignment.phase == SCORING:
        replacements = {
            name: read_replacement(start, module, name).to(task.device)
            for name, module in part.build_replacements().items()
        }
        yield _Pass(solo_batch(task), partial(solo_pass, task, replacements))
    states = [name for name in assignment.networks if name != TEACHER]
    student = part.build_student() if states else task.teacher.network
    for name in assignment.networks:
        if name in states:
            compute = partial(_state_classes, student, start / f"{name}.safetensors")
        else:
            compute = partial(classes_of, task.teacher.network)
        yield _Pass(SCORING_BATCH, partial(_named, f"networks.{name}", compute))


def _state_classes(student: nn.Module, path: Path, batches: Iterable[Tensor]) -> Tensor:
    fit_weights(student, read_weights(path), path)
    return classes_of(student, batches)


def _named(
    key: str, compute: Callable[[Iterable[Tensor]], Tensor], batches: Iterable[Tensor]
) -> dict[str, Tensor]:
    return {key: compute(batches)}


def _score_share(part: StudentPart, job: Job, passes: Iterable[_Pass]) -> dict[str, Tensor]:
    """Predict one share of the batches, with a heartbeat for each."""
    (name,) = job.blocks
    task, assignment = part.task, part.assignment
    split = task.data.test if assignment.phase == EVALUATION else task.data.validation
    speeds = [worker.speed for worker in assignment.workers]
    shares = [
        (each, share_of(-(-len(split) // each.batch_size), int(name), speeds)) for each in passes
    ]
    steps = sum(share.stop - share.start for _, share in shares)
    pace = _pace(part, steps, shares[0][0].batch_size)
    found: dict[str, Tensor] = {}
    for each, share in shares:
        images = sequential_images(split, each.batch_size, share)
        found |= each.compute(map(task.normalize, pace(images)))
    return found


def _pace(part: StudentPart, steps: int, images: int) -> Pace:
    job = JobStarted(
        worker=part.rank,
        phase=part.assignment.phase,
        blocks=tuple(part.builders) if part.assignment.phase == SCORING else (STUDENT,),
        begun=0,
        epochs=1,
        steps=steps,
        images=images,
    )
    return begin_with_heartbeats(job, partial(record_event, part.folder, f"rank{part.rank}"))
