"""The inner loop of everything: one teacher pass trains every block of a job."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Trainee", "train_block", "train_job", "trainee", "warmup_cosine"]


@dataclass
class Trainee:
    """A replacement in training, with an optimiser and a rate schedule of its own.

    `losses` holds the mean loss of each finished epoch.
    """

    replacement: nn.Module
    optimiser: torch.optim.Optimizer
    rate: torch.optim.lr_scheduler.LRScheduler
    losses: list[float] = field(default_factory=list)


def warmup_cosine(
    optimiser: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Raise the rate linearly over the first 5 % of the steps, then lower it along a cosine."""
    warmup = max(1, steps // 20)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def trainee(replacement: nn.Module, *, lr: float, weight_decay: float, steps: int) -> Trainee:
    """Give a replacement its own AdamW and a warm-up and cosine over `steps` steps."""
    device = next(replacement.parameters()).device
    optimiser = torch.optim.AdamW(
        replacement.parameters(),
        lr=lr,
        weight_decay=weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
    return Trainee(replacement.train(), optimiser, warmup_cosine(optimiser, steps))


def train_job(
    chain: nn.Sequential,
    trainees: Mapping[str, Trainee],
    epochs: Iterable[Iterable[Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    student_fed: bool = False,
    epoch_finished: Callable[[str, float], None] = lambda _name, _loss: None,
) -> None:
    """Train the replacements of one job on every batch of every epoch.

    `chain` is the frozen teacher, `epochs` gives normalised image batches (N, C, H, W) on its
    device. Each replacement learns its block's output: from the teacher's input to the block, or,
    `student_fed`, from the output of the replacements before it. The teacher runs no further than
    the job's last block. `epoch_finished` gets each block's name and mean loss, epoch by epoch.
    """
    last = max(list(dict(chain.named_children())).index(name) for name in trainees)
    for batches in epochs:
        totals: dict[str, Tensor] = {}
        steps = 0
        for images in batches:
            for name, value in _step(chain[: last + 1], trainees, images, loss, student_fed):
                totals[name] = totals[name] + value if name in totals else value
            steps += 1
        for name, total in totals.items():
            trainees[name].losses.append(float(total) / steps)
            epoch_finished(name, trainees[name].losses[-1])


def _step(
    span: nn.Sequential,
    trainees: Mapping[str, Trainee],
    images: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    student_fed: bool,
) -> Iterable[tuple[str, Tensor]]:
    """Run one batch through the span; a block trains as soon as its input and output are there."""
    x = x_student = images
    for name, segment in span.named_children():
        with torch.no_grad():
            y = segment(x)
        if name in trainees:
            y_student, value = train_block(trainees[name], x_student, y, loss)
            yield name, value
        elif x_student is x:
            y_student = y
        else:
            with torch.no_grad():
                y_student = segment(x_student)
        x, x_student = y, y_student if student_fed else y


def train_block(
    block: Trainee, x: Tensor, target: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Take one optimiser step; return the output from before it, and the loss, both detached."""
    output = block.replacement(x)
    value = loss(output, target)
    block.optimiser.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    block.optimiser.step()
    block.rate.step()
    return output.detach(), value.detach()
