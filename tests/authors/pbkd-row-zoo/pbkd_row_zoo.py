"""A zoo of networks that are rows of layers."""

from __future__ import annotations

from torch import nn

from pbkd import ZooModel, hookimpl

PBKD_CONTRACT = 2


def build_row(width: int = 16, depth: int = 4) -> nn.Sequential:
    """Build a row of convolutions for 8x8 grey images in ten classes."""
    layers: list[nn.Module] = [_unit(1, width)]
    layers += [_unit(width, width) for _ in range(depth)]
    head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 10))
    return nn.Sequential(*layers, head)


def _unit(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    )


@hookimpl
def register_models() -> list[ZooModel]:
    """Register the model `row`."""
    model = ZooModel("row", build_row, "a row of convolutions", (0.5,), (0.5,),
                     input_shape=(1, 8, 8))  # fmt: skip
    return [model]
