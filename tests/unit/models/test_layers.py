from __future__ import annotations

import pytest
import torch
from torch import nn

from pbkd import dense_convolutions, layer_inputs


class Own(nn.Conv2d):
    """A convolution that may compute something else."""


@pytest.mark.parametrize(
    ("convolution", "dense"),
    [
        (nn.Conv2d(5, 8, 3), True),
        (nn.Conv2d(8, 8, 7, stride=2, dilation=2), True),
        (nn.Conv2d(8, 8, (1, 3)), True),
        (nn.Conv2d(8, 8, 1), False),
        (nn.Conv2d(8, 8, 3, groups=2), True),
        (nn.Conv2d(8, 16, 3, groups=8), False),
        (Own(8, 8, 3), False),
        (nn.ConvTranspose2d(8, 8, 3), False),
    ],
    ids=["3x3", "7x7", "1x3", "1x1", "grouped", "depthwise", "subclass", "transposed"],
)
def test_a_dense_convolution_mixes_pixels_and_channels_and_is_torchs_own(
    convolution: nn.Module, dense: bool
) -> None:
    found = list(dense_convolutions(nn.Sequential(nn.Sequential(convolution), nn.ReLU())))
    assert found == ([("0.0", convolution)] if dense else [])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_convolution_of_an_image_is_replaced_only_when_asked_for(channels: int) -> None:
    segment = nn.Sequential(nn.Conv2d(channels, 16, 7), nn.ReLU(), nn.Conv2d(16, 16, 3))
    assert [name for name, _ in dense_convolutions(segment)] == ["2"]
    assert [name for name, _ in dense_convolutions(segment, stem=True)] == ["0", "2"]


def test_the_inputs_of_layers_come_part_by_part_and_leave_no_trace() -> None:
    first, second = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 3, 1)
    network = nn.Sequential(first, second, second).eval()
    images = torch.randn(20, 2, 4, 4)
    found = list(layer_inputs(network, {"first": first, "second": second}, images))
    assert [(name, len(x)) for name, x in found] == [
        ("first", 16), ("second", 16), ("second", 16), ("first", 4), ("second", 4), ("second", 4),
    ]  # fmt: skip
    assert torch.equal(torch.cat([x for name, x in found if name == "first"]), images)
    assert not any(x.requires_grad for _, x in found)
    assert not first._forward_pre_hooks
