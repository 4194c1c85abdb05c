"""From trained replacements to a scored student: everything after the teacher-fed phase."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pbkd.core.blocks import candidate_of
from pbkd.core.events import EpochDone, JobStarted
from pbkd.models.replacement import read_replacement
from pbkd.models.student import assemble
from pbkd.models.student_files import Recipe, write_student
from pbkd.pipeline.block_results import block_result, failure_notes
from pbkd.pipeline.distill_blocks import distil_student_fed
from pbkd.pipeline.evaluate import (
    copy_state,
    evaluate_stages,
    measure_networks,
    predicted_classes,
    validation_score,
)
from pbkd.pipeline.select import select
from pbkd.runs.disagreements import find_changes, write_changes
from pbkd.runs.progress import checkpoint_store
from pbkd.training.finetune import TrainingHooks, TrainingSettings, train_network
from pbkd.training.recalibration import recalibrate
from pbkd.training.throughput import begin_job

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from pbkd.config.schema import RunConfig
    from pbkd.core.events import BlockTrained, Emit
    from pbkd.core.results import BlockResult, NetworkResult
    from pbkd.energy.phases import PhaseClock
    from pbkd.pipeline.plan import PlannedRun
    from pbkd.plugin.registry import Registry
    from pbkd.runs.events import EventLog
    from pbkd.training.task import DistillationTask
    from pbkd.training.throughput import Pace

__all__ = ["Outcome", "finish"]


@dataclass(frozen=True)
class Outcome:
    """What the phases after the blockwise one found.

    `test` and `validation` are the student's scores on these splits, by stage: accuracies, or, on
    data without labels, agreement with the teacher.
    """

    teacher: NetworkResult
    student: NetworkResult
    test: dict[str, float | None]
    validation: dict[str, float | None]
    blocks: tuple[BlockResult, ...]
    candidates: tuple[BlockResult, ...]
    notes: tuple[str, ...]


def finish(
    planned_run: PlannedRun,
    registry: Registry,
    trained: Mapping[str, BlockResult],
    folder: Path,
    clock: PhaseClock,
    log: EventLog,
) -> Outcome:
    """Accept or keep, train student-fed, assemble, recalibrate, fine-tune, save, evaluate."""
    notes: list[str] = []
    with clock.phase("scoring"):
        sound = {name: r for name, r in planned_run.replacements.items() if trained[name].replaced}
        replacements = _read(planned_run, folder / "teacher-fed", sound)
        blocks = select(planned_run, trained, replacements, folder, log.emit, notes)
        notes += failure_notes(blocks.values())
        accepted = {name: r for name, r in replacements.items() if blocks[name].replaced}
    with clock.phase("student-fed"):
        if planned_run.config.distill.student_fed_epochs and accepted:
            fed = {name: blocks[name] for name in accepted}
            events = distil_student_fed(planned_run, registry, folder, fed, log.forward)
            blocks |= _student_fed(planned_run, folder, accepted, blocks, events, notes)
    by_block = {candidate_of(name)[0]: replacement for name, replacement in accepted.items()}
    student = assemble(planned_run.task.chain, by_block)
    stages: dict[str, dict[str, Tensor] | None] = {"assembled": copy_state(student)}
    with clock.phase("recalibration"):
        stages["recalibrated"] = _recalibrate(planned_run, student, notes) if accepted else None
    with clock.phase("fine-tuning"):
        fine_tuned = _fine_tune(planned_run, student, folder, notes, log.emit) if accepted else None
        stages["fine-tuned"] = fine_tuned
    if not accepted:
        notes.append("No replacement was accepted: nothing was recalibrated or fine-tuned.")
    builders = {candidate_of(name)[0]: blocks[name].builder for name in accepted}
    recipe = _recipe(planned_run.config, planned_run.task, builders)
    write_student(folder / "student", student, recipe, planned_run.config.plugins)
    with clock.phase("evaluation"):
        data = planned_run.task.data
        test, validation = (
            evaluate_stages(planned_run, student, stages, split)
            for split in (data.test, data.validation)
        )
        given = predicted_classes(planned_run, student)
        write_changes(folder, find_changes(data.test, **given, labelled=data.labelled))
        teacher_result, student_result = measure_networks(planned_run, student, given)
    several = len(planned_run.plan.blocks) > len({p.block.name for p in planned_run.plan.blocks})
    return Outcome(
        teacher_result,
        student_result,
        test,
        validation,
        _all_blocks(planned_run, blocks),
        tuple(blocks.values()) if several else (),
        tuple(notes),
    )


def _student_fed(
    planned_run: PlannedRun,
    folder: Path,
    accepted: Mapping[str, nn.Module],
    blocks: Mapping[str, BlockResult],
    events: Mapping[str, BlockTrained],
    notes: list[str],
) -> dict[str, BlockResult]:
    """Fill in the weights of the student-fed phase; a block that failed in it keeps its own."""
    sound = [name for name, event in events.items() if event.failure is None]
    _read(planned_run, folder / "student-fed", {name: accepted[name] for name in sound})
    notes += [
        f"Block '{name}' keeps its teacher-fed weights: in the student-fed phase {event.failure}."
        for name, event in events.items()
        if event.failure
    ]
    return {
        name: replace(blocks[name], student_fed_losses=tuple(events[name].losses)) for name in sound
    }


def _read(
    planned_run: PlannedRun, folder: Path, replacements: Mapping[str, nn.Module]
) -> dict[str, nn.Module]:
    """Fill replacements with the weights that a phase left in `folder`."""
    device = planned_run.task.device
    return {
        name: read_replacement(folder, replacement, name).to(device)
        for name, replacement in replacements.items()
    }


def _recalibrate(
    planned_run: PlannedRun, student: nn.Module, notes: list[str]
) -> dict[str, Tensor] | None:
    """Recalibrate BatchNorm, kept only where the validation split gains; return that state."""
    count = planned_run.config.recalibrate_batches
    if not count:
        notes.append("Recalibration was not asked for.")
        return None
    before, state = validation_score(planned_run, student), copy_state(student)
    recalibrate(student, planned_run.task, count, planned_run.config.batch_size)
    after, recalibrated = validation_score(planned_run, student), copy_state(student)
    kept = after > before
    if not kept:
        student.load_state_dict(state)
    notes.append(
        f"Recalibration took validation {planned_run.task.data.score_name} from"
        f" {100 * before:.2f} to {100 * after:.2f} % and was {'kept' if kept else 'not kept'}."
    )
    return recalibrated


def _fine_tune(
    planned_run: PlannedRun, student: nn.Module, folder: Path, notes: list[str], emit: Emit
) -> dict[str, Tensor] | None:
    config, task = planned_run.config, planned_run.task
    if not config.finetune.epochs:
        notes.append("Fine-tuning was not asked for.")
        return None
    before = validation_score(planned_run, student)
    settings = TrainingSettings(
        epochs=config.finetune.epochs,
        lr=config.finetune.lr,
        weight_decay=config.finetune.weight_decay,
        batch_size=config.batch_size,
        seed=config.seed,
        temperature=config.finetune.temperature,
        soft_weight=config.finetune.soft_weight if task.data.labelled else 1.0,
        optimiser=config.finetune.optimiser,
        dtype=task.dtype,
    )

    def paced(begun: int, steps: int) -> Pace:
        job = JobStarted(
            worker=None,
            phase="fine-tuning",
            blocks=("student",),
            begun=begun,
            epochs=settings.epochs,
            steps=steps,
            images=min(settings.batch_size, len(task.data.train)),
        )
        return begin_job(job, emit)

    def epoch_finished(epoch: int, loss: float, score: float) -> None:
        event = EpochDone(
            worker=None,
            phase="fine-tuning",
            block="student",
            epoch=epoch + 1,
            loss=loss,
            accuracy=score,
        )
        emit(event)

    hooks = TrainingHooks(
        epoch_finished=epoch_finished,
        checkpoints=checkpoint_store(folder, "fine-tuning", "student", writer="host"),
        start_pace=paced,
    )
    after = train_network(
        student,
        task.data,
        task.teacher.normalization,
        settings,
        teacher=task.feeding,
        hooks=hooks,
    )
    notes.append(
        f"Fine-tuning took validation {task.data.score_name} from {100 * before:.2f} to"
        f" {100 * after:.2f} %."
    )
    return copy_state(student)


def _all_blocks(
    planned_run: PlannedRun, blocks: Mapping[str, BlockResult]
) -> tuple[BlockResult, ...]:
    """Return every block's result in chain order, those that had no replacement included.

    It is that of the candidate which the block got; of the first where it got none.
    """
    found: dict[str, BlockResult] = {}
    for planned in planned_run.plan.blocks:
        own = blocks.get(planned.name) or block_result(planned)
        name = planned.block.name
        if name not in found or own.replaced:
            found[name] = replace(own, name=name)
    return tuple(found.values())


def _recipe(
    config: RunConfig, task: DistillationTask, replaced: Mapping[str, Mapping[str, Any]]
) -> Recipe:
    """The recipe of a student; `replaced` has the builder's choice of each replaced block."""
    return Recipe(
        teacher={key: value for key, value in config.teacher.items() if key != "weights"},
        partitioner={**config.partitioner, "name": task.partitioner},
        replaced={name: dict(builder) for name, builder in replaced.items()},
        image_shape=task.data.image_shape,
        normalization=task.teacher.normalization,
    )
