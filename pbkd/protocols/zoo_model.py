"""Models of the zoo: networks that are built by name."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import nn


__all__ = ["ZooModel"]


@dataclass(frozen=True)
class ZooModel:
    """A network that can be built by name.

    A family of networks, such as `timm`, has `variants`: `teacher=timm:NAME` calls
    `build(variant=NAME, ...)`.

    Attributes:
        name: The name that `teacher` selects.
        build: Returns the network with random weights. Its keyword arguments, all with defaults,
            are the options `teacher.OPTION=VALUE`.
        summary: One line for `pbkd zoo list`.
        mean: Mean of the images, one value per channel, for pixels in [0, 1].
        std: Standard deviation of the images, one value per channel.
        input_shape: (channels, height, width), or None for images of any size.
        weights: File of trained weights.
        card: YAML file that records how the weights were trained, and their scores.
        variants: Lists the names of a family's networks.
        recipe: A configuration that compresses the model well: a YAML file, or a mapping of its
            keys.
    """

    name: str
    build: Callable[..., nn.Module]
    summary: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    _: KW_ONLY
    input_shape: tuple[int, int, int] | None = None
    weights: Path | None = None
    card: Path | None = None
    variants: Callable[[], Sequence[str]] | None = None
    recipe: Path | Mapping[str, Any] | None = None
