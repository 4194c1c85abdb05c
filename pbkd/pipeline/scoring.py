"""Scoring on all workers, as the host sees it: assign, launch, put the predictions together."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import torch

from pbkd.core.schedule import Job, Schedule
from pbkd.errors import WeightsError, WorkerError
from pbkd.models.pseudo_labels import PseudoLabelledSplit
from pbkd.models.weights import read_weights, write_weights
from pbkd.pipeline.launching import candidate_blocks, candidate_builders, launch_assignment
from pbkd.plugin.attribution import describe_strategy
from pbkd.runs.assignment import EVALUATION, SCORING, TEACHER, Assignment

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from pbkd.core.schedule import Worker
    from pbkd.data.datasets import Split
    from pbkd.pipeline.context import RunContext
    from pbkd.training.solo_pass import SoloPass

    State = Mapping[str, Tensor]


__all__ = ["predict_states", "share_solo_pass"]


def share_solo_pass(
    ctx: RunContext, candidates: Collection[str], workers: Sequence[Worker]
) -> SoloPass:
    """Have workers make the pass of `solo_pass` over the validation split.

    Args:
        ctx: The run.
        candidates: The candidates, whose weights are in the folder of the teacher-fed phase.
        workers: The workers.

    Raises:
        WorkerError: The launcher fails, or leaves batches out.
    """
    return _share(ctx, SCORING, candidates, {}, workers)


def predict_states(
    ctx: RunContext,
    phase: str,
    student: nn.Module,
    states: Mapping[str, State],
    accepted: Collection[str],
) -> dict[str, Tensor]:
    """Predict the classes of a split with the student in several states.

    Args:
        ctx: The run; its plan says which workers share the phase.
        phase: `recalibration`, for the validation split, or `evaluation`, for the test split.
        student: The student; it is left in one of the states.
        states: The states, by name.
        accepted: The candidates that are in the student.

    Returns:
        The classes, int64 (images,), by the name of the state.

    Raises:
        WorkerError: The launcher fails, or leaves batches out.
    """
    if workers := ctx.planned.sharing.get(phase):
        found = _share(ctx, phase, accepted, states, workers)
        return {name: found[f"networks.{name}"] for name in states}
    classes = {}
    for name, state in states.items():
        student.load_state_dict(state)
        classes[name] = ctx.task.predict(student, _split(ctx, phase))
    return classes


def _split(ctx: RunContext, phase: str) -> Split:
    return ctx.task.data.test if phase == EVALUATION else ctx.task.data.validation


def _share(
    ctx: RunContext,
    phase: str,
    candidates: Collection[str],
    states: Mapping[str, State],
    workers: Sequence[Worker],
) -> dict[str, Tensor]:
    """Have each worker predict its share of the batches; put the shares together."""
    split, folder = _split(ctx, phase), ctx.folder / phase
    teacher = _is_teacher_asked(ctx, split)
    shutil.rmtree(folder, ignore_errors=True)  # of an interrupted run
    for name, state in states.items():
        write_weights(folder / f"{name}.safetensors", state)
    assignment = Assignment(
        phase=phase,
        start="teacher-fed" if phase == SCORING else phase,
        workers=tuple(workers),
        schedule=Schedule(tuple((Job((str(index),)),) for index in range(len(workers)))),
        blocks=candidate_blocks(ctx.plan, candidates),
        builders=candidate_builders(ctx.plan, candidates),
        networks=(*([TEACHER] if teacher else []), *states),
    )
    launch_assignment(ctx, assignment, ctx.log.forward)
    try:
        found = _put_together(folder, len(workers), len(split))
    except WeightsError as error:
        launcher = describe_strategy("launcher", ctx.planned.launcher)
        raise WorkerError(
            f"{launcher} ended, but what its workers predicted is not whole"
            f" ({str(error).rstrip('.')}): resume the run, which predicts it again."
        ) from error
    shutil.rmtree(folder, ignore_errors=True)
    if teacher and isinstance(split, PseudoLabelledSplit):
        split.know_labels(found[f"networks.{TEACHER}"])
    elif teacher:
        ctx.task.know_teacher_classes(found[f"networks.{TEACHER}"])
    return found


def _is_teacher_asked(ctx: RunContext, split: Split) -> bool:
    """Whether the teacher's classes of a split are needed, too: as labels, or for the result."""
    if isinstance(split, PseudoLabelledSplit):
        return not split.labels_are_known
    return split is ctx.task.data.test and not ctx.task.teacher_classes_are_known


def _put_together(folder: Path, shares: int, images: int) -> dict[str, Tensor]:
    """Read what was predicted on all shares of the batches, in their order.

    Raises:
        WeightsError: A file is missing, damaged, or not of its share.
    """
    parts = [read_weights(folder / f"{index}.safetensors") for index in range(shares)]
    found = {
        name: torch.cat([part.get(name, torch.zeros(0)) for part in parts]) for name in parts[0]
    }
    counts = {len(tensor) for tensor in found.values() if tensor.dtype == torch.int64}
    if counts != {images}:
        raise WeightsError(f"the files in '{folder}' do not hold every image once.")
    return found
