"""A pass over a split with each candidate swapped into the teacher on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pbkd.core.blocks import candidate_of
from pbkd.training.soft_targets import soft_target_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor, nn

    from pbkd.training.task import DistillationTask


__all__ = ["FUSED", "SOLO_BATCHES", "SoloPass", "solo_batch", "solo_pass"]

FUSED = "teacher"
SOLO_BATCHES = 4
"""Training batches in a batch of the pass."""
SoloPass = dict[str, "Tensor"]
"""Of some batches of a split: the predicted classes, int64 (images,), of the teacher, by the name
`FUSED`, and of the teacher with each candidate, by `classes.NAME`; and by `divergence.NAME` the
Kullback-Leibler divergence from the teacher's predictions, summed over the images of each batch, in
nats, float64 (batches,). Those of neighbouring batches are put together by concatenation."""


def solo_batch(task: DistillationTask) -> int:
    """Return the number of images per batch of the pass."""
    return SOLO_BATCHES * len(task.images)


@torch.no_grad()
def solo_pass(
    task: DistillationTask, replacements: Mapping[str, nn.Module], batches: Iterable[Tensor]
) -> SoloPass:
    """Predict classes with each candidate swapped into the teacher alone.

    Only the segments after its block are computed again.

    Args:
        task: Teacher and chain.
        replacements: The candidates by name, on the task's device.
        batches: Normalised images, on the task's device.
    """
    for replacement in replacements.values():
        replacement.eval()
    classes: dict[str, list[Tensor]] = {FUSED: []}
    classes |= {f"classes.{name}": [] for name in replacements}
    divergences: dict[str, list[Tensor]] = {f"divergence.{name}": [] for name in replacements}
    images: list[int] = []
    for batch in batches:
        logits, swapped = _swapped(task, replacements, batch)
        classes[FUSED].append(logits.argmax(1))
        for name, other in swapped.items():
            classes[f"classes.{name}"].append(other.argmax(1))
            divergences[f"divergence.{name}"].append(soft_target_loss(other, logits, 1.0))
        images.append(len(batch))
    return {
        **{name: _on_cpu(torch.cat, some, torch.int64) for name, some in classes.items()},
        **{
            name: _on_cpu(torch.stack, some, torch.float64) * torch.tensor(images)
            for name, some in divergences.items()
        },
    }


def _on_cpu(
    join: Callable[[list[Tensor]], Tensor], parts: list[Tensor], dtype: torch.dtype
) -> Tensor:
    """Join what a device computed batch by batch, and wait for it only then."""
    return (join(parts).cpu() if parts else torch.zeros(0)).to(dtype)


def _swapped(
    task: DistillationTask, replacements: Mapping[str, nn.Module], x: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the logits of the teacher, and of the teacher with each candidate."""
    swapped = {}
    for position, (block, segment) in enumerate(task.fused.named_children()):
        for name, replacement in replacements.items():
            if candidate_of(name)[0] == block:
                swapped[name] = task.fused[position + 1 :](replacement(x))
        x = segment(x)
    return x, swapped
