from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pbkd.loss import LOSSES, soft_target_loss

nmse, nmse_per_sample, mse, cosine = (
    LOSSES[name] for name in ("nmse", "nmse-per-sample", "mse", "cosine")
)

SHAPES = [(4, 3, 5, 5), (4, 7), (1, 2, 3, 3)]


def images(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_perfect_replacement_has_no_loss_and_any_other_has_some(
    name: str, shape: tuple[int, ...]
) -> None:
    target = images(shape, 0)
    assert LOSSES[name](target, target).item() == pytest.approx(0, abs=1e-12)
    assert LOSSES[name](images(shape, 1), target).item() > 0.1
    assert LOSSES[name](target, target).shape == ()


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_goes_to_the_output_and_shows_the_way(name: str) -> None:
    target = images((4, 3, 5, 5), 0)
    output = images((4, 3, 5, 5), 1).requires_grad_(True)
    loss = LOSSES[name](output, target)
    loss.backward()  # type: ignore[no-untyped-call]
    assert output.grad is not None
    with torch.no_grad():
        assert LOSSES[name](output - 0.1 * output.grad, target) < loss


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("degenerate", ["output", "target", "both"])
def test_activations_that_are_all_zero_give_finite_gradients(name: str, degenerate: str) -> None:
    # A dead ReLU block gives exactly this.
    output, target = images((2, 3), 0), images((2, 3), 1)
    if degenerate in ("output", "both"):
        output = torch.zeros_like(output)
    if degenerate in ("target", "both"):
        target = torch.zeros_like(target)
    output.requires_grad_(True)
    loss = LOSSES[name](output, target)
    loss.backward()  # type: ignore[no-untyped-call]
    assert output.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(output.grad).all()


def test_mse_is_the_mean_of_squares() -> None:
    assert mse(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]])).item() == 2.0


def test_nmse_of_zeros_is_one_and_scale_does_not_matter() -> None:
    output, target = images((4, 3, 5, 5), 0), images((4, 3, 5, 5), 1)
    for loss in (nmse, nmse_per_sample):
        assert loss(torch.zeros_like(target), target).item() == pytest.approx(1)
        assert loss(1e3 * output, 1e3 * target).item() == pytest.approx(loss(output, target).item())
    assert nmse(torch.tensor([[1.0, 1.0]]), torch.tensor([[3.0, 4.0]])).item() == pytest.approx(
        (4 + 9) / 25
    )


def test_per_sample_a_faint_image_counts_as_much_as_a_bright_one() -> None:
    target = torch.tensor([[100.0, 0.0], [0.0, 1.0]])
    output = torch.tensor([[100.0, 0.0], [0.0, 0.0]])
    assert nmse(output, target).item() == pytest.approx(1 / 10_001)
    assert nmse_per_sample(output, target).item() == pytest.approx(0.5)


def test_cosine_sees_the_direction_only() -> None:
    target = images((4, 3, 5, 5), 0)
    assert cosine(7 * target, target).item() == pytest.approx(0, abs=1e-12)
    assert cosine(-target, target).item() == pytest.approx(2)
    right_angle = cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 5.0]]))
    assert right_angle.item() == pytest.approx(1)


@given(st.integers(1, 6), st.integers(2, 5), st.integers(0, 99))
def test_a_loss_is_a_mean_over_the_batch(count: int, repeats: int, seed: int) -> None:
    output, target = images((count, 3, 4), seed), images((count, 3, 4), seed + 1)
    for loss in LOSSES.values():
        many = loss(output.repeat(repeats, 1, 1), target.repeat(repeats, 1, 1))
        assert many.item() == pytest.approx(loss(output, target).item())


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


@pytest.mark.parametrize("name", ["nmse", "mse"])
def test_the_squared_error_is_torchs_and_its_gradient_lies_in_memory_as_the_output(
    name: str,
) -> None:
    target = images((4, 3, 5, 5), 0).contiguous(memory_format=torch.channels_last)
    output = images((4, 3, 5, 5), 1).contiguous(memory_format=torch.channels_last)
    output.requires_grad_(True)
    scale = target.square().mean() if name == "nmse" else 1
    expected = torch.nn.functional.mse_loss(output, target) / scale
    loss = LOSSES[name](output, target)
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, output, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, output)[0])
    assert gradient.stride() == output.stride()
    # The first gradient took the difference's memory: a second would be wrong.
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(loss, output)
