"""Cuts a VGG into its convolutions or its stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from torch import nn

from pbkd import hookimpl
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pbkd.protocols import Partitioner

PBKD_CONTRACT = 2

_TORCHVISION = {"features", "avgpool", "classifier"}
_TIMM = {"features", "pre_logits", "head"}


@dataclass(frozen=True)
class VggPartitioner:
    """Partitioner for the VGGs of torchvision, of timm and of pbkd's zoo.

    `granularity="conv"` is the paper's: every convolution, with the layers up to the next one, is
    a segment (`conv1_1`, `conv1_2`, ...), and so is every pooling (`pool1`, ...); VGG-16 has 13
    blocks. `granularity="stage"` joins a stage's convolutions and its pooling (`stage1`, ...).
    The last segment is `head`.
    """

    name: ClassVar[str] = "vgg"
    granularity: str = "conv"

    def __post_init__(self) -> None:
        """Raise `ConfigError` if an option is out of range."""
        if self.granularity not in ("conv", "stage"):
            raise ConfigError(
                f"the partitioner vgg has no granularity '{self.granularity}': it is 'conv' or"
                " 'stage'."
            )

    def accepts(self, teacher: nn.Module) -> bool:
        """Tell whether the teacher is a sequence of 3x3 convolutions and poolings, and a head."""
        children = {name for name, _ in teacher.named_children()}
        known = children in (_TORCHVISION, _TIMM)
        return known and _is_plain(teacher.get_submodule("features"))

    def partition(self, teacher: nn.Module) -> nn.Sequential:
        """Cut the teacher into named segments.

        Args:
            teacher: A VGG.

        Returns:
            A chain that holds the teacher's own layers.

        Raises:
            ConfigError: The teacher is not a VGG.
        """
        if not self.accepts(teacher):
            raise ConfigError(
                f"the partitioner vgg cannot cut a {type(teacher).__name__}, which is not built"
                " like a VGG; use partitioner=auto."
            )
        features = cast("Iterable[nn.Module]", teacher.get_submodule("features"))
        segments = _by_conv(features) if self.granularity == "conv" else _by_stage(features)
        chain = nn.Sequential()
        for name, layers in segments.items():
            chain.add_module(name, nn.Sequential(*layers))
        chain.add_module("head", _head(teacher))
        return _in_mode_of(teacher, chain)


@hookimpl
def register_partitioners() -> list[type[Partitioner]]:
    """Register the partitioner `vgg`."""
    return [VggPartitioner]


def _is_plain(features: nn.Module) -> bool:
    layers = list(features.children())
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    return (
        isinstance(features, nn.Sequential)
        and isinstance(next(iter(layers), None), nn.Conv2d)
        and any(isinstance(layer, nn.MaxPool2d) for layer in layers)
        and all(layer.kernel_size == (3, 3) for layer in convolutions)
        and not any(list(layer.children()) for layer in layers)
    )


def _by_conv(features: Iterable[nn.Module]) -> dict[str, list[nn.Module]]:
    segments: dict[str, list[nn.Module]] = {}
    stage, position, name = 1, 0, ""
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            position += 1
            name = f"conv{stage}_{position}"
        elif isinstance(layer, nn.MaxPool2d):
            name = f"pool{stage}"
            stage, position = stage + 1, 0
        segments.setdefault(name, []).append(layer)
    return segments


def _by_stage(features: Iterable[nn.Module]) -> dict[str, list[nn.Module]]:
    segments: dict[str, list[nn.Module]] = {}
    stage = 1
    for layer in features:
        segments.setdefault(f"stage{stage}", []).append(layer)
        if isinstance(layer, nn.MaxPool2d):
            stage += 1
    return segments


def _head(teacher: nn.Module) -> nn.Sequential:
    layers = dict(teacher.named_children())
    if "avgpool" in layers:
        return nn.Sequential(layers["avgpool"], nn.Flatten(1), layers["classifier"])
    return nn.Sequential(layers["pre_logits"], layers["head"])


def _in_mode_of(teacher: nn.Module, chain: nn.Sequential) -> nn.Sequential:
    """Put the chain's new modules into the teacher's mode."""
    for module in set(chain.modules()) - set(teacher.modules()):
        module.training = teacher.training
    return chain
