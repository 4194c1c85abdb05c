"""From selected replacements to a scored student."""

from __future__ import annotations

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
from pbkd.pipeline.drop import why_not_tuned
from pbkd.pipeline.evaluate import evaluate
from pbkd.pipeline.refine import fine_tune, recalibrate_student
from pbkd.pipeline.student_fed import train_student_fed
from pbkd.plugin.user_code import is_user_function
from pbkd.training.finetune_loss import tuning_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from pbkd.config.schema import RunConfig
    from pbkd.core.results import BlockResult
    from pbkd.pipeline.context import RunContext
    from pbkd.pipeline.evaluate import Evaluation
    from pbkd.pipeline.refine import Stage
    from pbkd.pipeline.select import Selection
    from pbkd.planning.plan import Plan
    from pbkd.training.task import DistillationTask
    from pbkd.training.training_settings import TrainingSettings


__all__ = ["Outcome", "finish"]


@dataclass(frozen=True)
class Outcome:
    """The finished student.

    Attributes:
        student: Its network.
        evaluation: Scores and sizes of teacher and student.
        blocks: The result of each block, in the order of the chain.
        candidates: The results of all candidates, if blocks had several.
        notes: What was decided, a sentence each.
    """

    student: nn.Module
    evaluation: Evaluation
    blocks: tuple[BlockResult, ...]
    candidates: tuple[BlockResult, ...]
    notes: tuple[str, ...]


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
    config, task = ctx.planned.config, ctx.task
    kept = train_student_fed(ctx, kept, config.distill.student_fed_epochs)
    student = assemble(task.chain, kept.accepted)
    stages, notes = _refine(ctx, student, tuple(kept.accepted))
    recipe = _recipe(config, task, kept)
    attach_input(student, recipe)
    write_student(ctx.folder / "student", student, recipe, config.plugins)
    if is_user_function(ctx.registry, recipe.teacher["name"]):
        notes += _write_operations(ctx.folder / "student", student, recipe)
    evaluation = evaluate(ctx, student, stages, tuple(kept.accepted), config.target)
    has_candidates = len(ctx.plan.blocks) > len({p.block.name for p in ctx.plan.blocks})
    return Outcome(
        student,
        evaluation,
        _all_blocks(ctx.plan, kept.blocks),
        tuple(kept.blocks.values()) if has_candidates else (),
        (*kept.notes, *notes),
    )


def _refine(
    ctx: RunContext, student: nn.Module, accepted: Sequence[str]
) -> tuple[dict[str, Stage | None], list[str]]:
    """Recalibrate and fine-tune the student in place; return its stages and what happened."""
    config = ctx.planned.config
    tuned, notes = None, []
    with ctx.clock.phase("recalibration"):
        count, batch_size = config.recalibrate_batches, config.batch_size
        stages, note = recalibrate_student(ctx, student, count, batch_size, accepted)
        notes.append(note)
    with ctx.clock.phase("fine-tuning"):
        if accepted:
            before = max(stages.values(), key=lambda stage: stage.validation)  # the first of equals
            if reason := why_not_tuned(ctx.task, before, config.target.max_drop):
                notes.append(reason)
            else:
                tuned, note = fine_tune(ctx, student, before, _tuning(ctx), accepted)
                notes.append(note)
    if not accepted:
        notes = ["No replacement was accepted: nothing was recalibrated or fine-tuned."]
    recalibrated = stages.get("recalibrated")
    return {**stages, "recalibrated": recalibrated, "fine-tuned": tuned}, notes


def _tuning(ctx: RunContext) -> TrainingSettings:
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
        partitioner={**config.partitioner, "name": task.partitioner},
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
