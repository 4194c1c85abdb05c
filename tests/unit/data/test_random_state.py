"""Reading a program's data leaves its random number generators as they were."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import torch

from pbkd.data.random_state import kept_random_state


def test_generators_of_a_loader_and_of_the_program_are_restored() -> None:
    sampler = SimpleNamespace(own=random.Random(1), old=np.random.RandomState(2))
    dataset = SimpleNamespace(draws=np.random.default_rng(3))
    loader = SimpleNamespace(
        generator=torch.Generator(), dataset=dataset, batch_sampler=SimpleNamespace(sampler=sampler)
    )

    def draw() -> list[float]:
        return [
            random.random(),
            float(np.random.rand()),
            float(torch.rand(())),
            float(torch.rand((), generator=loader.generator)),
            sampler.own.random(),
            float(sampler.old.rand()),
            float(dataset.draws.random()),
        ]

    with kept_random_state(loader):
        before = draw()
    assert draw() == before
    assert not set(draw()) & set(before)
