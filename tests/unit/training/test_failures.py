"""What counts as a failure, and what the other blocks of a job learn beside one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pbkd_squared_error import RelativeSquaredError
from torch import Tensor, nn

from pbkd.errors import is_out_of_memory
from pbkd.training.applied_loss import AppliedLoss
from pbkd.training.distill import train_job
from pbkd.training.failures import describe_error, divergence_reason
from pbkd.training.feeds import recompute, teach
from pbkd.training.learner import new_learner
from tests.optimisations import optimisation


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([], None),
        ([5.0, 0.5], None),
        ([0.3, 2.9], None),
        ([0.3, 3.1], "grew from 0.3 to 3.1 in epoch 2"),
        ([1e-9, 0.09], None),
        ([1e-9, 0.11], "grew"),
        ([1.0, math.nan], "the loss of epoch 2 is nan"),
        ([math.inf], "the loss of epoch 1 is inf"),
    ],
)
def test_what_counts_as_diverging(losses: list[float], said: str | None) -> None:
    found = divergence_reason(losses)
    assert found is None if said is None else said in str(found)


def test_memory_errors_of_every_kind_are_known() -> None:
    for error in (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)."),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
    ):
        assert is_out_of_memory(error)
        assert describe_error(error) == "its training ran out of memory"
    assert not is_out_of_memory(RuntimeError("shapes"))


class _Fails(nn.Module):
    """A linear layer that raises, gives NaN or a wrong shape from its third step on."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.inner = nn.Linear(5, 6)
        self.how = how
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        self.steps += 1
        if self.steps > 2 and self.how == "raise":
            raise ValueError("no such luck")
        if self.steps > 2 and self.how == "nan":
            return y * math.nan
        return y[:, :1] if self.steps > 2 and self.how == "shape" else y


def _chain() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 7)]
    return nn.Sequential(*layers).requires_grad_(False)


def _train(replacements: dict[str, nn.Module], *, student_fed: bool = False) -> dict[str, Any]:
    learners = {
        name: new_learner(replacement, optimisation(0.01), steps=12)
        for name, replacement in replacements.items()
    }
    generator = torch.Generator().manual_seed(1)
    epochs = [[torch.rand(8, 4, generator=generator) for _ in range(3)] for _ in range(4)]
    lessons = (recompute(_chain(), learners, b, student_fed=student_fed) for b in epochs)
    train_job(learners, lessons, dict.fromkeys(learners, AppliedLoss(RelativeSquaredError())))
    return learners


def _last() -> nn.Module:
    torch.manual_seed(2)
    return nn.Linear(6, 7)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raise", r"its training failed (ValueError: no such luck)"),
        ("nan", "its training diverged (the loss of epoch 1 is nan)"),
        ("shape", "its training failed (ValueError: it gives (8, 1) instead of (8, 6))"),
    ],
)
def test_the_others_of_a_job_learn_what_they_learn_without_the_one_that_fails(
    how: str, said: str
) -> None:
    together = _train({"1": _Fails(how), "2": _last()})
    assert together["1"].failure == said
    assert together["1"].replacement.steps == 3, "it is trained no further"
    alone = _train({"2": _last()})
    assert together["2"].failure is None
    assert together["2"].losses == alone["2"].losses
    assert torch.equal(together["2"].replacement.weight, alone["2"].replacement.weight)


@pytest.mark.parametrize("how", ["raise", "nan"])
def test_student_fed_the_teachers_output_stands_in_for_one_that_fails(how: str) -> None:
    together = _train({"1": _Fails(how), "2": _last()}, student_fed=True)
    assert together["1"].failure
    assert together["2"].failure is None
    assert len(together["2"].losses) == 4
    assert together["2"].replacement.weight.isfinite().all()


def test_student_fed_a_sound_output_is_handed_on_to_the_bit() -> None:
    lessons = teach(_chain(), ["0", "1"], (torch.ones(2, 4), torch.ones(2, 4)), student_fed=True)
    next(lessons)
    handed = torch.rand(2, 5)
    assert torch.equal(lessons.send(handed).x, handed)
