from __future__ import annotations

import pytest
import torch
from pbkd_relational import Relational, register_losses
from torch import Tensor
from torch.nn import functional

from pbkd.testing import check_loss


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("distance", "angle"), [(1, 2), (0, 1), (25, 0)])
def test_it_keeps_the_contract(distance: float, angle: float) -> None:
    check_loss(Relational(distance=distance, angle=angle))


def cosines(x: Tensor) -> Tensor:
    """Angles as the authors compute them, from all differences of samples."""
    differences = functional.normalize(x[None] - x[:, None], dim=2)
    return differences @ differences.transpose(1, 2)


def distances(x: Tensor) -> Tensor:
    apart = torch.cdist(x, x)
    return apart / apart[apart > 0].mean()


def test_distances_and_angles_are_those_of_the_paper() -> None:
    output, target = drawn(6, 5), drawn(6, 5, seed=1)
    squares = Relational(0, 0).error(output, target)
    for options, relation in ((Relational(1, 0), distances), (Relational(0, 1), cosines)):
        expected = functional.smooth_l1_loss(relation(output), relation(target))
        torch.testing.assert_close(options.error(output, target) - squares, expected)


def test_float32_and_equal_samples_do_not_disturb_it() -> None:
    output, target = drawn(64, 300) + 2, drawn(64, 300, seed=1)
    target[1] = target[0]
    expected = Relational().error(output, target).item()
    value = Relational().error(output.float(), target.float()).item()
    assert value == pytest.approx(expected, rel=1e-4)


def test_a_turned_batch_has_the_same_relations() -> None:
    target = drawn(6, 5)
    rotation, _ = torch.linalg.qr(drawn(5, 5, seed=1))
    turned = 3 * target @ rotation + 1
    squares = Relational(0, 0).error(turned, target)
    assert squares > 0.1
    assert Relational(1, 1).error(turned, target).item() == pytest.approx(squares.item())


@pytest.mark.parametrize("rows", [1, 2])
def test_the_last_batch_may_be_short(rows: int) -> None:
    output = drawn(rows, 3, 2, 2).requires_grad_(True)
    value = Relational().error(output, drawn(rows, 3, 2, 2, seed=1))
    (gradient,) = torch.autograd.grad(value, output)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_weights_are_not_negative() -> None:
    with pytest.raises(ValueError, match="distance and angle must be at least 0"):
        Relational(distance=-1)


def test_it_is_registered_as_one_of_whole_batches() -> None:
    assert register_losses() == [Relational]
    assert (Relational.name, Relational.additive) == ("relational", False)
