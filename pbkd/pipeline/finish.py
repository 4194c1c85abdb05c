"""From selected replacements to a scored student."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pbkd.core.blocks import candidate_of
from pbkd.errors import ExportError
from pbkd.models.outputs import logits_options
from pbkd.models.plain.network_file import write_network
from pbkd.models.plain.tracing import trace_segments
from pbkd.models.student import assemble
from pbkd.models.student_files import NETWORK, Recipe, write_student
from pbkd.models.student_input import attach_input
from pbkd.pipeline.block_results import block_result
from pbkd.pipeline.drop import knows_validation, knows_validation_note, validation_limit
from pbkd.pipeline.evaluate import evaluate
from pbkd.pipeline.exports import FinishedNetworks, export_all
from pbkd.pipeline.fine_tuning import Tuning, fine_tune
from pbkd.pipeline.refine import final_stage, recalibrate_student
from pbkd.pipeline.student_fed import train_student_fed
from pbkd.plugin.user_code import is_user_function
from pbkd.training.finetune_loss import tuning_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from pbkd.config.schema import RunConfig
    from pbkd.core.results import BlockResult, ExportResult, NetworkResult
    from pbkd.pipeline.context import RunContext
    from pbkd.pipeline.evaluate import Evaluation
    from pbkd.pipeline.refine import Stage
    from pbkd.pipeline.select import Selection
    from pbkd.planning.plan import Plan
    from pbkd.training.task import DistillationTask
    from pbkd.training.training_settings import TrainingSettings


__all__ = ["Draft", "Outcome", "complete", "draft_student", "finish", "tune_drafts"]


@dataclass(frozen=True)
class Outcome:
    """The finished student.

    Attributes:
        student: Its network.
        evaluation: Scores and sizes of teacher and student.
        blocks: The result of each block, in the order of the chain.
        candidates: The results of all candidates, if blocks had several.
        notes: What was decided, a sentence each.
        exports: The exports that the configuration asks for.
    """

    student: nn.Module
    evaluation: Evaluation
    blocks: tuple[BlockResult, ...]
    candidates: tuple[BlockResult, ...]
    notes: tuple[str, ...]
    exports: tuple[ExportResult, ...] = ()


@dataclass
class Draft:
    """A student before it is written and evaluated.

    Attributes:
        ctx: Its run.
        kept: The selected replacements.
        student: The assembled student, which fine-tuning changes in place.
        stages: The student after each stage; None for skipped stages.
        notes: What was decided, a sentence each.
    """

    ctx: RunContext
    kept: Selection
    student: nn.Sequential
    stages: dict[str, Stage | None]
    notes: list[str]


def finish(ctx: RunContext, kept: Selection) -> Outcome:
    """Train student-fed, assemble, recalibrate, fine-tune, write and evaluate the student.

    Args:
        ctx: The run.
        kept: The selected replacements.

    Returns:
        The evaluated student.

    Raises:
        WorkerError: If the student-fed phase fails.
    """
    draft = draft_student(ctx, kept)
    tune_drafts([draft])
    return complete(draft)


def draft_student(ctx: RunContext, kept: Selection) -> Draft:
    """Train student-fed, assemble and recalibrate a student; raise as `finish`."""
    config = ctx.planned.config
    kept = train_student_fed(ctx, kept, config.distill.student_fed_epochs)
    student = assemble(ctx.task.chain, kept.accepted)
    with ctx.clock.phase("recalibration"):
        count, batch_size = config.recalibrate_batches, config.batch_size
        stages, note = recalibrate_student(ctx, student, count, batch_size, tuple(kept.accepted))
    draft = Draft(ctx, kept, student, {**stages}, [note])
    draft.stages.setdefault("recalibrated", None)
    draft.stages["fine-tuned"] = None
    if config.target.max_drop is not None and knows_validation(ctx.task):
        draft.notes.append(knows_validation_note())
    if not kept.accepted:
        draft.notes = ["No replacement was accepted: nothing was recalibrated or fine-tuned."]
    return draft


def tune_drafts(drafts: Sequence[Draft], *, gives_up: bool = False) -> None:
    """Fine-tune students of one teacher together, each as far as its run asks for it.

    Args:
        drafts: The students.
        gives_up: Whether to stop where a student loses far more than it may.
    """
    with ExitStack() as phases:
        for draft in drafts:
            phases.enter_context(draft.ctx.clock.phase("fine-tuning"))
        made = [draft for draft in drafts if draft.kept.accepted]
        found = fine_tune([replace(_tuning(draft), gives_up=gives_up) for draft in made])
        for draft, (stage, note) in zip(made, found, strict=True):
            draft.stages["fine-tuned"] = stage
            draft.notes.append(note)


def _tuning(draft: Draft) -> Tuning:
    """Return how a student is fine-tuned."""
    ctx = draft.ctx
    before = final_stage(draft.stages)
    max_drop = ctx.planned.config.target.max_drop
    if max_drop is not None:
        max_drop = validation_limit(ctx.task, max_drop)
    return Tuning(ctx, draft.student, before, _settings(ctx), tuple(draft.kept.accepted), max_drop)


def complete(draft: Draft, figures: tuple[NetworkResult, NetworkResult] | None = None) -> Outcome:
    """Write and evaluate a student that is ready.

    Args:
        draft: The student.
        figures: Sizes and latencies of teacher and student; None to measure them.
    """
    ctx, kept, student = draft.ctx, draft.kept, draft.student
    config, task, notes = ctx.planned.config, ctx.task, draft.notes
    recipe = _recipe(config, task, kept)
    attach_input(student, recipe)
    write_student(ctx.folder / "student", student, recipe, config.plugins)
    if is_user_function(ctx.registry, recipe.teacher["name"]):
        notes += _write_operations(ctx.folder / "student", student, recipe)
    accepted = tuple(kept.accepted)
    evaluation = evaluate(ctx, student, draft.stages, accepted, config.target, figures)
    exports, remarks = _exports(ctx, student, evaluation)
    has_candidates = len(ctx.plan.blocks) > len({p.block.name for p in ctx.plan.blocks})
    return Outcome(
        student,
        evaluation,
        _all_blocks(ctx.plan, kept.blocks),
        tuple(kept.blocks.values()) if has_candidates else (),
        (*kept.notes, *notes, *remarks),
        exports,
    )


def _exports(
    ctx: RunContext, student: nn.Module, evaluation: Evaluation
) -> tuple[tuple[ExportResult, ...], list[str]]:
    """Export the student in the formats of the configuration, if any; return remarks, too."""
    config = ctx.planned.config
    if not config.exports:
        return (), []
    networks = FinishedNetworks(
        task=ctx.task,
        student=student,
        scores={"teacher": evaluation.teacher.accuracy, "student": evaluation.student.score},
        seed=config.seed,
        registry=ctx.registry,
    )
    with ctx.clock.phase("export"), ctx.observers.paused():
        return export_all(networks, config.exports, ctx.folder / "exports")


def _settings(ctx: RunContext) -> TrainingSettings:
    config = ctx.planned.config
    batches = {"batch_size": config.batch_size, "seed": config.seed}
    return tuning_settings(ctx.registry, config.finetune, ctx.task, **batches)


def _recipe(config: RunConfig, task: DistillationTask, kept: Selection) -> Recipe:
    """The recipe that rebuilds the student's architecture."""
    return Recipe(
        teacher={
            **{key: value for key, value in config.teacher.items() if key != "weights"},
            **logits_options(task.teacher.network),
        },
        partitioner=dict(task.partitioner),
        replaced={candidate_of(name)[0]: dict(kept.blocks[name].builder) for name in kept.accepted},
        preparation=task.preparation,
        class_names=task.data.class_names,
    )


def _write_operations(folder: Path, student: nn.Sequential, recipe: Recipe) -> list[str]:
    """Write what the student computes, so that it can be loaded without its program's code.

    Returns:
        Why it cannot be written, if so.
    """
    try:
        segments = trace_segments(student, recipe.image_shape)
        write_network(folder / NETWORK, segments, student.state_dict())
    except ExportError as error:
        return [f"The student can be loaded only with the code of its teacher: {error}"]
    return []


def _all_blocks(plan: Plan, candidates: Mapping[str, BlockResult]) -> tuple[BlockResult, ...]:
    """List the result of every block: of the candidate that it got, else of its first one."""
    results: dict[str, BlockResult] = {}
    for planned in plan.blocks:
        result = candidates.get(planned.name) or block_result(planned)
        name = planned.block.name
        if name not in results or result.replaced:
            results[name] = replace(result, name=name)
    return tuple(results.values())
