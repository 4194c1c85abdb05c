"""Steps in torch's mode in which it is an error to wait for the card."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pbkd_joint import Joint
from pbkd_squared_error import RelativeSquaredError
from torch import nn

from pbkd.data.normalization import Normalization
from pbkd.models.precision import AUTOCAST, autocast
from pbkd.training.applied_loss import AppliedLoss, apply_to_blocks
from pbkd.training.distill import train_block
from pbkd.training.feeds import Lessons, recompute
from pbkd.training.learner import Learner, new_learner
from pbkd.training.lesson import Lesson, objective
from pbkd.training.trainee import take_step
from pbkd.training.training_settings import TrainingSettings
from tests.gpu.parts import Card, Outcome
from tests.optimisations import optimisation

__all__ = ["steps"]

_HALF = Normalization((0.5,) * 3, (0.5,) * 3)
_WARM_UP, _STEPS, _BATCH = 3, 4, 16
_BLOCKS = ("a", "b", "c")


def steps(card: Card) -> Outcome:
    """Take steps of blocks and of fine-tuning in every precision; each wait raises."""
    device, count = torch.device(card.device, 0), 0
    for name, dtype in AUTOCAST.items():
        for student_fed, micro_batches in ((False, 1), (True, 1), (False, 2)):
            print(f"blocks in {name}, student-fed {student_fed}, {micro_batches} micro-batches")
            _train_blocks(device, dtype, student_fed=student_fed, micro_batches=micro_batches)
            count += 1
        print(f"fine-tuning in {name}")
        _fine_tune(device, dtype)
        count += 1
    return Outcome(f"{count} kinds of steps wait for nothing", {"kinds": count})


@contextmanager
def _no_waits() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _chain(device: torch.device) -> nn.Sequential:
    chain = nn.Sequential()
    for name, inputs in zip(_BLOCKS, (3, 8, 8), strict=True):
        convolution = nn.Conv2d(inputs, 8, 3, padding=1)
        chain.add_module(name, nn.Sequential(convolution, nn.BatchNorm2d(8), nn.ReLU()))
    return chain.to(device).to(memory_format=torch.channels_last)


def _images(device: torch.device, dtype: torch.dtype) -> Iterator[torch.Tensor]:
    """Yield pixels of the CPU as the loops get them."""
    while True:
        pixels = torch.randint(256, (_BATCH, 3, 16, 16), dtype=torch.uint8)
        yield _HALF.apply(pixels, device).to(dtype)


def _train_blocks(
    device: torch.device, dtype: torch.dtype, *, student_fed: bool, micro_batches: int
) -> None:
    chain = _chain(device).requires_grad_(False).eval()
    losses = apply_to_blocks(RelativeSquaredError(), chain, dtype)
    learners = {
        name: new_learner(block, optimisation(0.01), steps=100, dtype=dtype)
        for name, block in copy.deepcopy(chain).requires_grad_(True).named_children()
    }
    for learner in learners.values():
        learner.micro_batches = micro_batches
    feeding = nn.Sequential()
    for name, segment in chain.named_children():
        feeding.add_module(name, autocast(segment, dtype))
    lessons = recompute(feeding, _BLOCKS, _images(device, dtype), student_fed=student_fed)
    for _ in range(_WARM_UP):
        _learn(next(lessons), learners, losses)
    with _no_waits():
        for _ in range(_STEPS):
            _learn(next(lessons), learners, losses)


def _learn(lessons: Lessons, learners: dict[str, Learner], losses: dict[str, AppliedLoss]) -> None:
    output = None
    try:
        while True:
            lesson = next(lessons) if output is None else lessons.send(output)
            name = lesson.block
            output, _ = train_block(learners[name], lesson, losses[name])
    except StopIteration:
        return


def _fine_tune(device: torch.device, dtype: torch.dtype) -> None:
    network = nn.Sequential(*_chain(device), nn.Flatten(), nn.Linear(8 * 16 * 16, 10)).to(device)
    teacher = copy.deepcopy(network).requires_grad_(False).eval()
    settings = TrainingSettings(
        epochs=1,
        optimisation=optimisation(0.01),
        batch_size=_BATCH,
        seed=0,
        loss=AppliedLoss(Joint(), teacher=teacher, teacher_forward=autocast(teacher, dtype)),
        dtype=dtype,
    )
    learner = new_learner(network, settings.optimisation, steps=100, dtype=dtype)
    loss = objective(settings, is_taught=True, labelled=True)
    images = _images(device, torch.float32)

    def step() -> None:
        labels = torch.zeros(_BATCH, dtype=torch.int64).to(device, non_blocking=True)
        lesson = Lesson(next(images), labels, teacher)
        take_step(learner, loss(learner, lesson, 0), None)

    for _ in range(_WARM_UP):
        step()
    with _no_waits():
        for _ in range(_STEPS):
            step()
