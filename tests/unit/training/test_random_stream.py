from __future__ import annotations

import copy
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
import torch
from pbkd_squared_error import SquaredError
from torch import nn

from pbkd.training.applied_loss import AppliedLoss
from pbkd.training.distill import train_job
from pbkd.training.feeds import recompute
from pbkd.training.learner import Learner, new_learner
from pbkd.training.random_stream import RandomStream
from tests.optimisations import optimisation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

CPU = torch.device("cpu")


def _chain() -> nn.Sequential:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)).eval()


def _learners(chain: nn.Sequential, names: Sequence[str], rank: int = 0) -> dict[str, Learner]:
    learners = {}
    for name in names:
        replacement = nn.Sequential(nn.Dropout(), copy.deepcopy(chain[int(name)]))
        learners[name] = new_learner(replacement, optimisation(0.01), steps=9)
        learners[name].random = RandomStream(CPU, 3, "teacher-fed", name, rank)
    return learners


def _epochs(first: int, last: int) -> Iterator[list[Tensor]]:
    for epoch in range(first, last):
        generator = torch.Generator().manual_seed(epoch)
        yield [torch.rand(8, 4, generator=generator) for _ in range(3)]


def _train(learners: dict[str, Learner], first: int = 0, last: int = 3) -> dict[str, Tensor]:
    chain = _chain()
    lessons = (recompute(chain, learners, batches) for batches in _epochs(first, last))
    train_job(learners, lessons, dict.fromkeys(learners, AppliedLoss(SquaredError())))
    return {
        name: torch.cat([p.flatten() for p in learner.replacement.parameters()]).detach()
        for name, learner in learners.items()
    }


def test_a_replacement_with_dropout_does_not_depend_on_what_else_its_worker_trains() -> None:
    together = _train(_learners(_chain(), "012"))
    for name, weights in together.items():
        torch.manual_seed(int(name))
        assert torch.equal(_train(_learners(_chain(), name))[name], weights)


def test_a_resumed_epoch_draws_the_numbers_of_an_undisturbed_one() -> None:
    whole = _train(_learners(_chain(), "01"))
    stopped = _learners(_chain(), "01")
    _train(stopped, last=1)
    torch.rand(5)
    for name, learner in stopped.items():
        learner.random = RandomStream(CPU, 3, "teacher-fed", name, 0)
    resumed = _train(stopped, first=1)
    assert all(torch.equal(resumed[name], weights) for name, weights in whole.items())


def test_another_replica_and_another_epoch_draw_other_numbers() -> None:
    drawn = set()
    for rank in (0, 1):
        stream = RandomStream(CPU, 3, "fit", rank)
        for epoch in (0, 1):
            stream.begin(epoch)
            for _step in range(2):
                with stream.drawn():
                    drawn.add(float(torch.rand(())))
    assert len(drawn) == 8


def test_numbers_outside_of_the_steps_are_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    stream = RandomStream(CPU, 3, "fit", 0)
    stream.begin(0)
    found = [torch.rand(2)]
    with pytest.raises(ValueError, match="a step fails"), stream.drawn():
        torch.rand(9)
        raise ValueError("a step fails")
    found.append(torch.rand(2))
    assert torch.equal(torch.cat(found), expected)


def test_a_network_that_draws_nothing_pays_for_one_step_an_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_state = Mock(wraps=torch.set_rng_state)
    monkeypatch.setattr(torch, "set_rng_state", set_state)
    stream = RandomStream(CPU, 3, "fit", 0)
    for epoch in range(2):
        stream.begin(epoch)
        for _ in range(5):
            with stream.drawn():
                pass
    assert set_state.call_count == 4
