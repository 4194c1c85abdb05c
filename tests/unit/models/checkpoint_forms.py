"""Three small networks, and the forms in which training programs leave their weights."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable


class Block(nn.Module):
    """A residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.bn1(self.conv1(x)))


def vgg_like() -> nn.Module:
    network = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(64, 5)),
    )
    return nn.Sequential(OrderedDict(features=network[0], classifier=network[1]))


def resnet_like() -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(1, 4, 3, padding=1),
            layer1=nn.Sequential(Block(), Block()),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            fc=nn.Linear(4, 5),
        )
    )


def oddly_nested() -> nn.Module:
    """Every name has the prefix `model.net.`, and a part is called `module`."""
    rest = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    inside = OrderedDict(module=nn.Conv2d(1, 4, 3), rest=rest)
    net = nn.Sequential(OrderedDict(net=nn.Sequential(inside)))
    return nn.Sequential(OrderedDict(model=net))


NETWORKS = [vgg_like, resnet_like, oddly_nested]
State = dict[str, Tensor]


def trained(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    network = make()
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.add_(torch.rand(tensor.shape) if tensor.is_floating_point() else 3)
    return network.eval()


def prefixed(state: State, *prefixes: str) -> State:
    return {prefix + key: tensor for prefix in prefixes for key, tensor in state.items()}


def others(state: State) -> State:
    return {key: torch.zeros_like(tensor) for key, tensor in state.items()}


class Config(argparse.Namespace):
    """An object of the training program's own."""


@dataclass
class Settings:
    lr: float = 0.1


class OwnDict(OrderedDict[str, Tensor]):
    """A dictionary of the training program's own."""


def with_optimiser(network: nn.Module) -> Any:
    optimiser = torch.optim.Adam(network.parameters())
    torch.stack([p.sum() for p in network.parameters()]).sum().backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return optimiser.state_dict()


FORMS: dict[str, Callable[[State], Any]] = {
    "plain": lambda s: s,
    "compiled": lambda s: prefixed(s, "_orig_mod."),
    "distributed and compiled": lambda s: prefixed(s, "module._orig_mod."),
    "two wrappers": lambda s: {"model": prefixed(s, "module.module.")},
    "any prefix": lambda s: prefixed(s, "my_model.encoder_2."),
    "lightning": lambda s: {
        "epoch": 3,
        "pytorch-lightning_version": "2.0",
        "state_dict": {**prefixed(s, "model."), "loss.weight": torch.ones(5)},
        "hyper_parameters": Config(lr=Settings()),
        "callbacks": {"ckpt": {"best": torch.tensor(0.1)}},
    },
    "ema beside": lambda s: {"state_dict": others(s), "state_dict_ema": s, "epoch": 3},
    "ema nested": lambda s: {"model": others(s), "ema": {"module": s, "decay": 0.9}},
    "params_ema": lambda s: {"params": others(s), "params_ema": s},
    "teacher and student": lambda s: {"student": others(s), "teacher": prefixed(s, "backbone.")},
    "deep": lambda s: {"checkpoint": {"run": {"weights": {"net": s}}}, "args": Config()},
    "own dictionary": lambda s: OwnDict(s),
    "numpy": lambda s: {"model": {k: t.numpy() for k, t in s.items()}, "acc": np.float64(0.9)},
    "half": lambda s: {k: t.half() if t.is_floating_point() else t for k, t in s.items()},
    "bfloat16": lambda s: {"net": {k: t.bfloat16() for k, t in s.items()}},
    "without counters": lambda s: {k: t for k, t in s.items() if "num_batches" not in k},
    "profiled": lambda s: {**s, "total_ops": torch.zeros(1), "fc.total_params": torch.zeros(1)},
    "fsdp inside": lambda s: {
        ".".join([*k.split(".")[:-1], "_fsdp_wrapped_module", k.split(".")[-1]]): t
        for k, t in s.items()
    },
    "parameters": lambda s: {
        k: nn.Parameter(t) if t.is_floating_point() else t for k, t in s.items()
    },
}
