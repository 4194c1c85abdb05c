from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from pbkd_squared_error import (
    RelativeSquaredError,
    RelativeSquaredErrorPerSample,
    SquaredError,
    register_losses,
)

from pbkd.testing import apply_loss, check_loss

if TYPE_CHECKING:
    from pbkd.protocols import Loss

MSE = partial(apply_loss, SquaredError())
NMSE = partial(apply_loss, RelativeSquaredError())
NMSE_PER_SAMPLE = partial(apply_loss, RelativeSquaredErrorPerSample())


def images(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("loss", register_losses(), ids=lambda loss: loss.name)
def test_they_keep_the_contract(loss: type[Loss]) -> None:
    check_loss(loss())


def test_mse_is_the_mean_of_squares() -> None:
    assert MSE(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]])).item() == 2.0


def test_nmse_of_zeros_is_one_and_scale_does_not_matter() -> None:
    output, target = images((4, 3, 5, 5), 0), images((4, 3, 5, 5), 1)
    for loss in (NMSE, NMSE_PER_SAMPLE):
        assert loss(torch.zeros_like(target), target).item() == pytest.approx(1)
        assert loss(1e3 * output, 1e3 * target).item() == pytest.approx(loss(output, target).item())
    assert NMSE(torch.tensor([[1.0, 1.0]]), torch.tensor([[3.0, 4.0]])).item() == pytest.approx(
        (4 + 9) / 25
    )


def test_per_sample_a_faint_image_counts_as_much_as_a_bright_one() -> None:
    target = torch.tensor([[100.0, 0.0], [0.0, 1.0]])
    output = torch.tensor([[100.0, 0.0], [0.0, 0.0]])
    assert NMSE(output, target).item() == pytest.approx(1 / 10_001)
    assert NMSE_PER_SAMPLE(output, target).item() == pytest.approx(0.5)


@pytest.mark.parametrize("is_relative", [True, False])
def test_the_squared_error_is_torchs_and_its_gradient_lies_in_memory_as_the_output(
    is_relative: bool,
) -> None:
    target = images((4, 3, 5, 5), 0).contiguous(memory_format=torch.channels_last)
    output = images((4, 3, 5, 5), 1).contiguous(memory_format=torch.channels_last)
    output.requires_grad_(True)
    scale = target.square().mean() if is_relative else 1
    expected = torch.nn.functional.mse_loss(output, target) / scale
    value = NMSE(output, target) if is_relative else MSE(output, target)
    torch.testing.assert_close(value, expected)
    (gradient,) = torch.autograd.grad(value, output, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, output)[0])
    assert gradient.stride() == output.stride()
    # The first gradient took the difference's memory: a second would be wrong.
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(value, output)


@pytest.mark.parametrize("loss", register_losses(), ids=lambda loss: loss.name)
def test_in_half_precision_no_sum_overflows(loss: type[Loss]) -> None:
    output = torch.full((2, 64, 40, 40), 2.0, dtype=torch.float16)
    target = torch.full((2, 64, 40, 40), 1.0, dtype=torch.float16)
    assert apply_loss(loss(), output, target).item() == pytest.approx(1)


def test_they_are_registered() -> None:
    assert [loss.name for loss in register_losses()] == ["nmse", "nmse-per-sample", "mse"]
