"""The parts of the check: what each shows, and how long it may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["PARTS", "Card", "Outcome", "Part", "ShortfallError"]


class ShortfallError(AssertionError):
    """A part ran to its end, but does not show what it should."""


@dataclass(frozen=True)
class Card:
    """Where a part runs.

    Attributes:
        device: `cuda`, or `cpu` where there is no GPU.
        work: A folder for files, which is deleted in the end.
        out: The folder of the results.
        idle_watts: The GPU's power before anything ran on it; None if no sensor shows it.
    """

    device: str
    work: Path
    out: Path
    idle_watts: float | None = None

    @property
    def is_gpu(self) -> bool:
        """Whether there is a GPU."""
        return self.device == "cuda"


@dataclass(frozen=True)
class Outcome:
    """What a part showed: a line, and its figures."""

    line: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A part of the check.

    Attributes:
        name: Its name.
        function: Its module in this folder, and a function there that takes a `Card` and returns an
            `Outcome`.
        seconds: What it may take on a GPU.
        shows: What it shows.
        needs_gpu: Whether it is skipped without one.
    """

    name: str
    function: str
    seconds: int
    shows: str
    needs_gpu: bool = False


PARTS = (
    Part("waiting", "waiting:steps", 30, "no step makes the host wait for the card", True),
    Part("quickstart", "runs:quickstart", 90, "a run keeps its invariants on the device"),
    Part("speed-vgg16", "speed:vgg16", 60, "single-pass is 4 times as fast as serial"),
    Part("speed-resnet50", "speed:resnet50", 75, "the same 3 times, at 224 x 224", True),
    Part("speed-resnet56", "speed:resnet56", 75, "the same 5 times", True),
    Part("kernels", "kernels:profile", 90, "the share of the card's time in kernels", True),
    Part("half", "runs:half_precision", 60, "float16 with a scaler, and bfloat16, train"),
    Part("workers", "workers:two_on_one_device", 120, "two workers share the card in every feed"),
    Part("memory", "runs:out_of_memory", 30, "a block that lacks memory trains in micro-batches"),
    Part("resume", "resume:killed", 75, "a killed run goes on and gives the same student"),
    Part("energy", "energy:windows", 20, "the joules of NVML are those of nvidia-smi", True),
    Part("folder", "runs:image_folder", 40, "pictures are read ahead into pinned memory"),
    Part("export", "runs:exports", 40, "a student of the device is exported to all formats"),
)
