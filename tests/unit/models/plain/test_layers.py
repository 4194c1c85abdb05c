from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from pbkd.models.plain.layers import build_layer, layer_options


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        (nn.Linear(3, 4), {"in_features": 3, "out_features": 4}),
        (nn.BatchNorm2d(4, momentum=None), {"num_features": 4, "momentum": None}),
        (nn.ReLU6(inplace=True), {"inplace": True}),
        (nn.MaxPool2d(3, 2, 1), {"kernel_size": 3, "stride": 2, "padding": 1}),
        (nn.LayerNorm((4,), bias=False), {"normalized_shape": (4,), "bias": False}),
        (nn.GELU("tanh"), {"approximate": "tanh"}),
        (
            nn.Conv2d(2, 4, (3, 1), padding="same", groups=2),
            {"in_channels": 2, "out_channels": 4, "kernel_size": (3, 1), "padding": "same",
             "groups": 2},
        ),
    ],
)  # fmt: skip
def test_arguments_that_differ_from_their_defaults(
    layer: nn.Module, options: dict[str, Any]
) -> None:
    assert layer_options(layer) == options
    built = build_layer(type(layer).__name__, options)
    assert repr(built) == repr(layer)
    assert all(tensor.is_meta for tensor in built.state_dict().values())


class Own(nn.ReLU):
    """A layer of somebody else's."""


def forwarded() -> nn.Module:
    layer = nn.ReLU()
    vars(layer)["forward"] = lambda x: x
    return layer


@pytest.mark.parametrize(
    "layer", [Own(), forwarded(), nn.Sequential(nn.ReLU()), nn.LSTM(2, 3), nn.Module()]
)
def test_what_is_no_single_layer_of_torch(layer: nn.Module) -> None:
    assert layer_options(layer) is None


@pytest.mark.parametrize("name", ["Own", "LSTM", "functional", "Sequential", "__doc__", ""])
def test_unknown_layers_are_not_built(name: str) -> None:
    with pytest.raises(ValueError, match="there is no layer"):
        build_layer(name, {})
