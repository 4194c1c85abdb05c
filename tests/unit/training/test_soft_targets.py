from __future__ import annotations

import math

import pytest
import torch

from pbkd.training.soft_targets import soft_target_loss


def images(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_soft_targets_follow_the_closed_formula() -> None:
    student, teacher, temperature = torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 0.0]]), 2.0
    p = 1 / (1 + math.exp((0 - 2) / temperature))
    q = 1 / (1 + math.exp((3 - 1) / temperature))
    divergence = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    found = soft_target_loss(student, teacher, temperature).item()
    assert found == pytest.approx(temperature**2 * divergence)


def test_soft_targets_are_a_mean_over_the_batch_and_ignore_a_shift_of_the_logits() -> None:
    student, teacher = images((4, 5), 0), images((4, 5), 1)
    loss = soft_target_loss(student, teacher, 4.0)
    each = [soft_target_loss(student[i : i + 1], teacher[i : i + 1], 4.0) for i in range(4)]
    assert loss.item() == pytest.approx(torch.stack(each).mean().item())
    assert soft_target_loss(student + 3, teacher - 7, 4.0).item() == pytest.approx(loss.item())
    assert soft_target_loss(teacher, teacher, 4.0).item() == pytest.approx(0, abs=1e-12)


def test_the_squared_temperature_keeps_gradients_of_the_same_size() -> None:
    # Hinton et al. 2015, section 2: the gradients of the softened loss scale as 1 / T^2.
    teacher = images((8, 10), 1)
    norms = []
    for temperature in (20.0, 40.0):
        student = images((8, 10), 0).requires_grad_(True)
        soft_target_loss(student, teacher, temperature).backward()  # type: ignore[no-untyped-call]
        assert student.grad is not None
        norms.append(student.grad.norm().item())
    assert norms[0] == pytest.approx(norms[1], rel=0.1)  # exact only as T goes to infinity
