"""Presets of `pbkd bench`: the paper's networks and image sizes."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

from pbkd.errors import ConfigError, did_you_mean

__all__ = ["PRESETS", "Preset", "find_preset"]


_ONE_PASS = ("single-pass", "pipeline", "cache")
_FEWEST_IMAGES = 2  # BatchNorm needs two


@dataclass(frozen=True)
class Preset:
    """A teacher with random weights, its images, and the number of timed steps.

    Attributes:
        teacher: Name and options of the teacher.
        image_shape: (C, H, W).
        batch_size: Images per batch.
        job_steps: Timed steps of procedures that train one block per teacher pass.
        pass_steps: Timed steps of procedures that train all blocks in one teacher pass.
        distinct_steps: Number of different batches.
        builder: Name and options of the builder.
    """

    teacher: dict[str, Any]
    image_shape: tuple[int, int, int]
    batch_size: int
    _: KW_ONLY
    job_steps: int = 4
    pass_steps: int = 96
    distinct_steps: int = 4
    builder: dict[str, Any] = field(default_factory=lambda: {"name": "separable", "stem": True})

    def steps(self, procedure: str) -> int:
        """Return the number of timed steps of a procedure."""
        return self.pass_steps if procedure in _ONE_PASS else self.job_steps

    def warm_up_steps(self, procedure: str) -> int:
        """Return the number of untimed steps that warm a procedure up."""
        return 4 if procedure in _ONE_PASS else 1


def find_preset(name: str, batch_size: int | None = None) -> Preset:
    """Return a preset by name.

    Args:
        name: The name.
        batch_size: Images per batch; None for the preset's own.

    Raises:
        ConfigError: There is none, or the batch is too small.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset '{name}'.{did_you_mean(name, PRESETS)}")
    if batch_size is None:
        return PRESETS[name]
    if batch_size < _FEWEST_IMAGES:
        raise ConfigError(f"a benchmark needs batches of at least {_FEWEST_IMAGES} images.")
    return replace(PRESETS[name], batch_size=batch_size)


PRESETS = {
    "vgg16-cifar": Preset({"name": "vgg16"}, (3, 32, 32), 64),
    "resnet50-cifar": Preset({"name": "torchvision:resnet50", "num_classes": 10}, (3, 64, 64), 32),
    "resnet50-imagenet": Preset({"name": "torchvision:resnet50"}, (3, 224, 224), 64),
    "resnet56-cifar": Preset({"name": "resnet56"}, (3, 32, 32), 128),
    "digits": Preset({"name": "digits-vgg"}, (1, 8, 8), 64, job_steps=8, pass_steps=16),
}
