"""The settings of fine-tuning; its loss between the logits of student and teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pbkd.errors import PluginError
from pbkd.models.precision import autocast
from pbkd.training.applied_loss import AppliedLoss
from pbkd.training.loss_trial import try_loss
from pbkd.training.losses import create_loss
from pbkd.training.optimisation import create_optimisation
from pbkd.training.training_settings import TrainingSettings

if TYPE_CHECKING:
    from pbkd.config.schema import FineTuneConfig
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Loss
    from pbkd.training.task import DistillationTask


__all__ = ["apply_to_student", "check_finetune_loss", "tuning_settings"]

_ROWS = 8


def apply_to_student(loss: Loss, task: DistillationTask) -> AppliedLoss:
    """Apply a loss to the whole student; the teacher is folded unless the loss looks inside it."""
    if all("." not in name for name in getattr(loss, "features", ())):
        return AppliedLoss(loss, teacher=task.feeding)
    return AppliedLoss(loss, teacher=task.chain, teacher_forward=autocast(task.chain, task.dtype))


def tuning_settings(
    registry: Registry,
    config: FineTuneConfig,
    task: DistillationTask,
    *,
    batch_size: int,
    seed: int,
) -> TrainingSettings:
    """Return the settings of fine-tuning.

    Args:
        registry: The plugins.
        config: What the run chooses for fine-tuning.
        task: Teacher and data.
        batch_size: Images per step.
        seed: The run's seed.
    """
    return TrainingSettings(
        epochs=config.epochs or 0,
        optimisation=create_optimisation(registry, config, "finetune"),
        batch_size=batch_size,
        seed=seed,
        loss=apply_to_student(create_loss(registry, config.loss, "finetune.loss"), task),
        dtype=task.dtype,
    )


@torch.no_grad()
def check_finetune_loss(loss: Loss, task: DistillationTask) -> None:
    """Try a loss on the teacher's logits for some images, before anything is trained.

    Args:
        loss: The loss.
        task: Teacher and data.

    Raises:
        PluginError: The loss fails or breaks its protocol, or needs labels that the data lacks.
    """
    applied, x = apply_to_student(loss, task), task.images[:_ROWS]
    labels = task.data.train.labels[: len(x)].to(x.device) if task.data.labelled else None
    try:
        forward = autocast(task.chain, task.dtype)
        logits, features = applied.forward(task.chain, forward, x)
        theirs = applied.teacher_features(x)
        context = applied.context(
            x, epoch=0, features=features, teacher_features=theirs, labels=labels
        )
        with torch.enable_grad():
            try_loss(applied, logits.float().flip(0), logits.float(), context)
    except PluginError as error:
        raise PluginError(f"finetune.loss={loss.name} cannot be used: {error}") from error
