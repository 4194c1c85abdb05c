"""The clock, the data and the teacher that plugin authors test with."""

from __future__ import annotations

from typing import Any

import torch
from pbkd_vgg import VggPartitioner
from torch import nn

from pbkd.models.partition import cut
from pbkd.testing import (
    FakeClock,
    tiny_data,
)


def test_a_clock_moves_only_when_it_is_moved(fake_clock: FakeClock) -> None:
    assert (fake_clock(), fake_clock()) == (0.0, 0.0)
    fake_clock.advance(1.5)
    assert fake_clock() == 1.5


def test_the_tiny_data_can_be_learnt_by_its_brightest_quarter(tiny_data: Any) -> None:
    for split in (tiny_data.train, tiny_data.validation, tiny_data.test):
        means = split.images(torch.arange(len(split))).float().mean(1)
        quarters = means.unfold(1, 4, 4).unfold(2, 4, 4).mean((3, 4)).flatten(1)
        assert torch.equal(quarters.argmax(1), split.labels)


def test_the_tiny_teacher_is_cut_and_takes_the_tiny_data(tiny_teacher: nn.Module) -> None:
    images = tiny_data().train.images(torch.arange(2)) / 255
    chain = cut(VggPartitioner(), tiny_teacher, images)
    assert [name for name, _ in chain.named_children()] == ["conv1_1", "pool1", "conv2_1", "head"]
    assert chain(images).shape == (2, 4)
