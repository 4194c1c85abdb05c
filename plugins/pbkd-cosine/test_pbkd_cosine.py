from __future__ import annotations

import pytest
import torch
from pbkd_cosine import Cosine, register_losses

from pbkd.testing import check_loss

LOSS = Cosine().error


def test_it_keeps_the_contract() -> None:
    check_loss(Cosine())


def test_it_sees_the_direction_only() -> None:
    target = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    assert LOSS(7 * target, target).item() == pytest.approx(0, abs=1e-6)
    assert LOSS(-target, target).item() == pytest.approx(2)
    right_angle = LOSS(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 5.0]]))
    assert right_angle.item() == pytest.approx(1)


def test_every_sample_counts_alike() -> None:
    target = torch.tensor([[100.0, 0.0], [0.0, 1.0]])
    output = torch.tensor([[100.0, 0.0], [0.0, -1.0]])
    assert LOSS(output, target).item() == pytest.approx(1)


def test_it_is_registered() -> None:
    assert [loss.name for loss in register_losses()] == ["cosine"]
