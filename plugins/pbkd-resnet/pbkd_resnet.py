"""Cuts a ResNet into its residual blocks or its stages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from pbkd import hookimpl
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.protocols import Partitioner

PBKD_CONTRACT = 2

_STAGE = re.compile(r"layer\d+")
_TORCHVISION = {"conv1", "bn1", "relu", "maxpool", "avgpool", "fc"}
_TIMM = {"conv1", "bn1", "act1", "maxpool", "global_pool", "fc"}
_CIFAR = {"conv1", "bn1", "linear"}  # the activation and the pooling are functions


@dataclass(frozen=True)
class ResnetPartitioner:
    """Partitioner for the ResNets of torchvision and timm, and for CIFAR ResNets.

    `granularity="block"` makes every residual block a segment (`layer1_0`, `layer1_1`, ...):
    16 for ResNet-50, 9 for the CIFAR ResNet-20, 27 for ResNet-56. `granularity="stage"` makes
    every stage one (`layer1`, ...). The first segment is `stem`, the last `head`.
    """

    name: ClassVar[str] = "resnet"
    stages: ClassVar[Mapping[str, str]] = {"granularity": "stage"}
    granularity: str = "block"

    def __post_init__(self) -> None:
        """Raise `ConfigError` if an option is out of range."""
        if self.granularity not in ("block", "stage"):
            raise ConfigError(
                f"the partitioner resnet has no granularity '{self.granularity}': it is 'block'"
                " or 'stage'."
            )

    def accepts(self, teacher: nn.Module) -> bool:
        """Tell whether the teacher consists of a known stem, stages of blocks and a known head."""
        stages = _stages(teacher)
        return (
            _outside(teacher) in (_TORCHVISION, _TIMM, _CIFAR)
            and len(stages) > 0
            and all(isinstance(stage, nn.Sequential) and len(stage) for stage in stages.values())
        )

    def partition(self, teacher: nn.Module) -> nn.Sequential:
        """Cut the teacher into named segments.

        Args:
            teacher: A ResNet.

        Returns:
            A chain that holds the teacher's own layers.

        Raises:
            ConfigError: The teacher is not a ResNet.
        """
        if not self.accepts(teacher):
            raise ConfigError(
                f"the partitioner resnet cannot cut a {type(teacher).__name__}, which is not"
                " built like a ResNet; use partitioner=auto."
            )
        stages = _stages(teacher)
        between = stages if self.granularity == "stage" else _blocks(stages)
        chain = nn.Sequential()
        for name, segment in {"stem": _stem(teacher), **between, "head": _head(teacher)}.items():
            chain.add_module(name, segment)
        return _in_mode_of(teacher, chain)


@hookimpl
def register_partitioners() -> list[type[Partitioner]]:
    """Register the partitioner `resnet`."""
    return [ResnetPartitioner]


def _stages(teacher: nn.Module) -> dict[str, nn.Module]:
    return {name: child for name, child in teacher.named_children() if _STAGE.fullmatch(name)}


def _outside(teacher: nn.Module) -> set[str]:
    return {name for name, _ in teacher.named_children() if not _STAGE.fullmatch(name)}


def _blocks(stages: dict[str, nn.Module]) -> dict[str, nn.Module]:
    return {
        f"{name}_{index}": block
        for name, stage in stages.items()
        for index, block in enumerate(stage.children())
    }


def _stem(teacher: nn.Module) -> nn.Sequential:
    layers = dict(teacher.named_children())
    if "linear" in layers:
        return nn.Sequential(layers["conv1"], layers["bn1"], nn.ReLU())
    activation = layers["relu"] if "relu" in layers else layers["act1"]
    return nn.Sequential(layers["conv1"], layers["bn1"], activation, layers["maxpool"])


def _head(teacher: nn.Module) -> nn.Sequential:
    layers = dict(teacher.named_children())
    if "linear" in layers:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), layers["linear"])
    if "avgpool" in layers:
        return nn.Sequential(layers["avgpool"], nn.Flatten(1), layers["fc"])
    # timm applies dropout as a function; its rate is an attribute of the network.
    dropout = nn.Dropout(float(getattr(teacher, "drop_rate", 0.0)))
    return nn.Sequential(layers["global_pool"], dropout, layers["fc"])


def _in_mode_of(teacher: nn.Module, chain: nn.Sequential) -> nn.Sequential:
    """Put the chain's new modules into the teacher's mode."""
    for module in set(chain.modules()) - set(teacher.modules()):
        module.training = teacher.training
    return chain
