"""The networks that `pbkd bench` measures: the paper's, at the paper's sizes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pbkd.errors import ConfigError, did_you_mean

__all__ = ["PRESETS", "Preset", "find_preset"]


_ONE_PASS = ("single-pass", "pipeline", "cache")


@dataclass(frozen=True)
class Preset:
    """A teacher (with random weights: only its speed matters), its images and the steps timed.

    `job_steps` are for the procedures that train a block at a time, `pass_steps` for those that
    train all in one teacher pass; seconds are always per image.
    """

    teacher: dict[str, Any]
    image_shape: tuple[int, int, int]
    batch_size: int
    job_steps: int = 4
    pass_steps: int = 96
    distinct_steps: int = 4
    builder: dict[str, Any] = field(default_factory=lambda: {"name": "separable", "stem": True})

    def steps(self, procedure: str) -> int:
        """Return how many steps of a procedure are timed."""
        return self.pass_steps if procedure in _ONE_PASS else self.job_steps

    def warm_up_steps(self, procedure: str) -> int:
        """Return how many steps fill every buffer of a procedure."""
        return 4 if procedure in _ONE_PASS else 1


PRESETS = {
    "vgg16-cifar": Preset({"name": "vgg16"}, (3, 32, 32), 64),
    "resnet50-cifar": Preset({"name": "torchvision:resnet50", "num_classes": 10}, (3, 64, 64), 32),
    "resnet56-cifar": Preset({"name": "resnet56"}, (3, 32, 32), 128),
    "digits": Preset({"name": "digits-vgg"}, (1, 8, 8), 64, job_steps=8, pass_steps=16),
}


def find_preset(name: str) -> Preset:
    """Return a preset by name; raises `ConfigError`."""
    if name not in PRESETS:
        raise ConfigError(f"unknown preset '{name}'.{did_you_mean(name, PRESETS)}")
    return PRESETS[name]
