from __future__ import annotations

import pytest
import torch
from pbkd_attention_transfer import AttentionTransfer, register_losses
from torch import Tensor

from pbkd import LossContext
from pbkd.testing import check_loss


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def context(mine: Tensor | None = None, theirs: Tensor | None = None) -> LossContext:
    features = {} if mine is None else {"a": mine}
    teacher_features = {} if theirs is None else {"a": theirs}
    return LossContext(
        input=drawn(1),
        index=0,
        block="conv1",
        epoch=0,
        features=features,
        teacher_features=teacher_features,
    )


@pytest.mark.parametrize("features", [(), ("a", "b.c")])
def test_it_keeps_the_contract(features: tuple[str, ...]) -> None:
    check_loss(AttentionTransfer(weight=3, power=1.5, features=features))


def test_the_maps_are_those_of_the_paper() -> None:
    output, target = drawn(2, 3, 4, 4), drawn(2, 3, 4, 4, seed=1)
    maps = [x.square().sum(1).flatten(1) for x in (output, target)]
    mine, theirs = (m / m.norm(dim=1, keepdim=True) for m in maps)
    expected = (mine - theirs).norm(dim=1).square().mean() / 2
    squares = AttentionTransfer(weight=0).error(output, target, context())
    value = AttentionTransfer(weight=1).error(output, target, context())
    torch.testing.assert_close(value - squares, expected)


def test_a_map_does_not_see_the_order_or_scale_of_channels() -> None:
    output, target = drawn(2, 3, 4, 4), drawn(2, 3, 4, 4, seed=1)
    feature = drawn(2, 5, 4, 4, seed=2)
    loss = AttentionTransfer(features=("a",))
    same = loss.error(output, target, context(feature, 7 * feature.flip(1)))
    torch.testing.assert_close(same, AttentionTransfer().error(output, target, context()))
    assert loss.error(output, target, context(feature, feature.flip(2))) > same + 0.1


def test_features_of_two_sizes_cannot_be_compared() -> None:
    loss, output = AttentionTransfer(features=("a",)), drawn(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"'a' gives maps of \(4, 4\) here, and of \(2, 2\)"):
        loss.error(output, output, context(output, drawn(2, 3, 2, 2)))


def test_its_options_are_checked() -> None:
    with pytest.raises(ValueError, match="power at least 1"):
        AttentionTransfer(power=0)


def test_it_is_registered() -> None:
    assert [loss.name for loss in register_losses()] == ["attention-transfer"]
