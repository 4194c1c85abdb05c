"""A step on an accelerator makes the host wait for nothing, or the card runs dry."""

from __future__ import annotations

import copy

import pytest
import torch
from pbkd_attention_transfer import AttentionTransfer
from pbkd_joint import Joint
from pbkd_sgd import SgdBuilder
from pbkd_squared_error import RelativeSquaredError, RelativeSquaredErrorPerSample
from pbkd_synthetic import SyntheticSource
from torch import nn

from pbkd.data.normalization import Normalization
from pbkd.protocols import Loss
from pbkd.training.applied_loss import AppliedLoss, apply_to_blocks
from pbkd.training.distill import train_job
from pbkd.training.feeds import recompute
from pbkd.training.finetune import NetworkTraining, train_together
from pbkd.training.learner import new_learner
from pbkd.training.loss_watch import LossWatch
from pbkd.training.training_hooks import TrainingHooks
from pbkd.training.training_settings import TrainingSettings
from tests.optimisations import optimisation
from tests.pretended_device import DEVICE, PretendedDevice

HALF = Normalization((0.5,) * 3, (0.5,) * 3)
BLOCKS = ("a", "b")
_STEPS = 4


def _chain() -> nn.Sequential:
    chain = nn.Sequential()
    for name, inputs in zip(BLOCKS, (3, 4), strict=True):
        convolution = nn.Conv2d(inputs, 4, 3, padding=1)
        chain.add_module(name, nn.Sequential(convolution, nn.BatchNorm2d(4), nn.ReLU()))
    return chain


@pytest.mark.parametrize(
    ("loss", "student_fed", "micro_batches"),
    [
        (RelativeSquaredError(), False, 1),
        (RelativeSquaredErrorPerSample(), True, 2),
        (AttentionTransfer(features=("2",)), False, 1),
    ],
)
def test_the_steps_of_blocks_wait_for_nothing(
    loss: Loss, student_fed: bool, micro_batches: int
) -> None:
    chain = _chain().requires_grad_(False).eval().to(DEVICE)
    losses = apply_to_blocks(loss, chain)
    learners = {
        name: new_learner(block, optimisation(0.1), steps=_STEPS)
        for name, block in copy.deepcopy(chain).requires_grad_(True).named_children()
    }
    for learner in learners.values():
        learner.micro_batches = micro_batches
        learner.watch = LossWatch(8 * _STEPS, _STEPS)
    pixels = torch.zeros(8, 3, 6, 6, dtype=torch.uint8)
    with PretendedDevice() as device:
        images = (HALF.apply(pixels, DEVICE) for _ in range(_STEPS))
        train_job(learners, [recompute(chain, BLOCKS, images, student_fed=student_fed)], losses)
    assert all(learner.rate.last_epoch == _STEPS for learner in learners.values())
    # The first loss, the mean of an eighth of all steps, and the mean of the epoch.
    assert device.waits == 3 * len(BLOCKS) * ["aten._local_scalar_dense.default"]


def test_the_steps_of_fine_tuning_wait_for_nothing() -> None:
    data = SyntheticSource(classes=4, height=6, width=6, count=8 * _STEPS).load()
    network = nn.Sequential(_chain(), nn.Flatten(), nn.Linear(144, 4)).to(DEVICE)
    teacher = copy.deepcopy(network).requires_grad_(False).eval()
    settings = TrainingSettings(
        epochs=1,
        optimisation=optimisation(0.1, optimiser=SgdBuilder()),
        batch_size=8,
        seed=0,
        loss=AppliedLoss(Joint(), teacher=teacher),
    )
    training = NetworkTraining(network, settings, TrainingHooks(initial_score=0.0))
    with PretendedDevice() as device:
        train_together([training], data, HALF, teacher=teacher)
    assert device.waits == ["aten._local_scalar_dense.default", "aten._to_copy.default"]
