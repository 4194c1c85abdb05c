"""Small networks, each with something that a plain network has to spell out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class SameConv(nn.Conv2d):
    """Pads by the size of its input, as networks from TensorFlow do."""

    def forward(self, x: Tensor) -> Tensor:
        _, _, height, width = x.shape
        rows, columns = (max(0, (-(-side // 2) - 1) * 2 + 3 - side) for side in (height, width))
        x = functional.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return functional.conv2d(x, self.weight, self.bias, 2)


class Standardised(nn.Conv2d):
    """Standardises its weights in every pass."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.reshape(1, self.out_channels, -1)
        weight = functional.batch_norm(weight, None, None, training=True, momentum=0.0)
        return functional.conv2d(x, weight.reshape_as(self.weight), self.bias, padding=1)


class Squeeze(nn.Module):
    """Weights channels by a gate; has a parameter of its own and an attribute of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.full((4, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate(x.mean(dim=(2, 3))).sigmoid().view(x.size(0), -1, 1, 1)
        return x * gate * self.scale if x.shape[2] > 1 else x


class Shuffle(nn.Module):
    """Splits, shuffles and joins channels, in place where it can."""

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.size()
        first, second = x.chunk(2, dim=1)
        second = second.clone()
        second += first
        second.mul_(0.5)
        x = torch.cat([first, second], 1).view(batch, 2, channels // 2, height, width)
        return x.transpose(1, 2).reshape(batch, channels, height, width)[..., ::1]


class Blur(nn.Module):
    """Has a constant that is no part of its state."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.full((4, 1, 2, 2), 0.25), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.kernel, groups=x.shape[1])


class Named(nn.Module):
    """Has layers whose names are no identifiers."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("7", nn.BatchNorm2d(4))
        self.add_module("1-x/y", nn.Conv2d(4, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = functional.relu(layer(x), inplace=True)
        return x


def hooked() -> nn.Module:
    """Return a layer whose hook changes its output."""
    layer = nn.Conv2d(4, 4, 1)
    layer.register_forward_hook(lambda _module, _args, output: output * 2)
    return layer


def tied() -> nn.Module:
    layer = nn.Conv2d(4, 4, 3, padding=1)
    return nn.Sequential(layer, nn.PReLU(4), layer)


def around(*layers: nn.Module) -> nn.Sequential:
    """Put layers into a network from images (1, 9, 9) to 3 logits, with settled statistics."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(0.5), nn.Linear(4, 3),
    )  # fmt: skip
    network.train()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        network(torch.randn(8, 1, 9, 9))
    return network.eval()


NETWORKS = {
    "same": lambda: around(SameConv(4, 4, 3, stride=2)),
    "standardised": lambda: around(Standardised(4, 4, 3, padding=1)),
    "gate": lambda: around(Squeeze()),
    "shuffle": lambda: around(Shuffle()),
    "constant": lambda: around(Blur()),
    "name": lambda: around(Named()),
    "hook": lambda: around(nn.Sequential(hooked())),
    "tied": lambda: around(tied()),
    "layers": lambda: around(
        nn.ConvTranspose2d(4, 4, 2, 2), nn.GroupNorm(2, 4), nn.GELU("tanh"), nn.MaxPool2d(3, 2, 1),
        nn.Hardtanh(-1, 2), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Identity(),
        nn.Conv2d(4, 4, (1, 3), padding="same", groups=2, padding_mode="reflect"), nn.Softplus(2),
    ),
}  # fmt: skip
