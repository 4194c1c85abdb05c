"""The network that each method trains, before its training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from pbkd.errors import ConfigError, RunFolderError
from pbkd.models.latency import latencies
from pbkd.models.metrics import macs
from pbkd.pipeline.baselines.pruning import check_installed, prune
from pbkd.pipeline.baselines.ready import ready_network
from pbkd.pipeline.baselines.settings import RATES
from pbkd.pipeline.baselines.students import random_student, same_start_student

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from pbkd.core.results import Latency
    from pbkd.data.normalization import Normalization
    from pbkd.pipeline.baselines.context import BaselineContext


__all__ = ["BATCHES", "Rival", "build_rival", "in_turns"]

BATCHES = (1, 64)
"""Images per pass in the latencies that are compared."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A network to compare with a run's student.

    Attributes:
        method: The method, of `METHODS`.
        network: What it is, in words.
        equal: What equals the student's: `macs`, `milliseconds`, or nothing.
        start: Returns the network before training, on the task's device, for a seed.
        weight_decay: The optimiser's weight decay.
        is_trained: Whether it is trained already.
        soft_targets: Whether it learns from the teacher's outputs, or only from labels.
        normalization: How its images are normalised.
        notes: Remarks for the reader.
    """

    method: str
    network: str
    equal: str
    start: Callable[[int], nn.Module]
    weight_decay: float
    is_trained: bool = False
    soft_targets: bool = True
    normalization: Normalization
    notes: tuple[str, ...] = ()


def build_rival(ctx: BaselineContext, method: str) -> Rival:
    """Build the network of a method.

    Args:
        ctx: The run.
        method: The method, of `METHODS`.

    Raises:
        ConfigError: If the method is not possible for this run; the message says why.
        RunFolderError: If the network has not the student's architecture, as it must.
    """
    labelled = ctx.task.data.labelled
    if method in ("scratch", "ready") and not labelled:
        raise ConfigError(
            f"the data of the run in '{ctx.run.folder}' has no labels, which the method '{method}'"
            " needs: leave it out."
        )
    if method == "pruning":
        return _pruned(ctx)
    if method == "ready":
        return _ready(ctx)
    return _student(ctx, method)


def in_turns(
    ctx: BaselineContext, network: nn.Module, batch: int, repeats: int | None = None
) -> tuple[Latency, Latency]:
    """Measure the latency of a network and of the student, in turns.

    Args:
        ctx: The run.
        network: The network, on the task's device.
        batch: Images per pass.
        repeats: Timed passes of each; None for as many as the precision needs.

    Returns:
        The latencies of the network and of the student.
    """
    images = ctx.task.images
    rows = torch.arange(batch, device=images.device) % len(images)
    found = latencies({"rival": network.eval(), "student": ctx.student}, images[rows], repeats)
    return found["rival"], found["student"]


def _student(ctx: BaselineContext, method: str) -> Rival:
    """The student's architecture: as the run started it, or with random weights."""
    run, task = ctx.run, ctx.task
    if method == "same-start":
        start = same_start_student(run.folder, run.finished.result, task, run.registry)
        _check_size(ctx, start)
        return _rival(ctx, method, "the student as the run started it", lambda _seed: start)

    def random(seed: int) -> nn.Module:
        return random_student(run.folder, run.config, seed).to(task.device)

    _check_size(ctx, random(0))
    decay = RATES.get(run.settings.optimiser, ((), 0.0))[1]
    rival = _rival(ctx, method, "the student with random weights", random, decay)
    return replace(rival, soft_targets=method == "distillation")


def _rival(
    ctx: BaselineContext,
    method: str,
    network: str,
    start: Callable[[int], nn.Module],
    weight_decay: float | None = None,
) -> Rival:
    tuning = ctx.run.config.finetune
    return Rival(
        method=method,
        network=network,
        equal="macs",
        start=start,
        weight_decay=tuning.weight_decay if weight_decay is None else weight_decay,
        normalization=ctx.task.teacher.normalization,
    )


def _check_size(ctx: BaselineContext, network: nn.Module) -> None:
    counted, wanted = macs(network, ctx.task.data.image_shape), ctx.run.finished.result.student.macs
    if counted != wanted:
        raise RunFolderError(
            f"the student of '{ctx.run.folder}' is built with {counted:,} MACs, but the run's has"
            f" {wanted:,}: the plugin of a builder has changed since."
        )


def _pruned(ctx: BaselineContext) -> Rival:
    """The teacher, pruned until it costs as much as the student."""
    check_installed()
    task, equal = ctx.task, ctx.run.settings.equal
    if equal == "macs":
        count = partial(macs, input_shape=task.data.image_shape)
        target = float(count(ctx.student))
        pruned = prune(task.teacher.network, task.images[:2], count, target)
    else:
        pruned = prune(task.teacher.network, task.images[:2], partial(_slower, ctx), 1.0)
    rival = _rival(ctx, "pruning", "the teacher, pruned", lambda _seed: pruned.network)
    whole = f"; left whole: the layers of {', '.join(pruned.kept)}" if pruned.kept else ""
    note = f"Pruning removed {100 * pruned.share:.1f} % of the channels of each layer{whole}."
    return replace(rival, equal=equal, notes=(note,))


def _slower(ctx: BaselineContext, network: nn.Module) -> float:
    """Return the latency of a network over the student's, for a batch of 64."""
    rival, student = in_turns(ctx, network.to(memory_format=torch.channels_last), BATCHES[-1])
    return rival.median_seconds / student.median_seconds


def _ready(ctx: BaselineContext) -> Rival:
    run = ctx.run
    most = run.finished.result.student.macs
    found = ready_network(run.registry, ctx.task, most, run.settings.ready)
    rival = _rival(ctx, "ready", found.name, lambda _seed: found.network)
    note = f"{found.name} came with its weights and was not trained."
    return replace(
        rival,
        equal="nothing",
        is_trained=True,
        normalization=found.normalization,
        notes=(note, *found.notes),
    )
