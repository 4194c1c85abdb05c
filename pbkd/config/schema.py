"""Schema of the configuration: typed dataclasses with defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "CHOICES",
    "STRATEGIES",
    "BudgetConfig",
    "DistillConfig",
    "FineTuneConfig",
    "RunConfig",
]

STRATEGIES = ("partitioner", "builder", "scheduler", "launcher")
"""Keys that select a strategy of the slot with the same name."""
CHOICES = ("teacher", "data", *STRATEGIES, "model")
"""Keys that hold a choice: a mapping of `name` and the options below that name."""


def _choice(name: str) -> Any:
    return field(default_factory=lambda: {"name": name})


@dataclass
class DistillConfig:
    """The blockwise phases, in which each replacement is trained against its block."""

    epochs: int | None = None
    """Teacher-fed epochs; null: as many as make about 600 steps, at least one."""
    student_fed_epochs: int | None = None
    """Student-fed epochs after that; null: about 300 steps, at least one."""
    loss: str = "nmse"
    """nmse, nmse-per-sample, mse, cosine, or the name of a plugin's loss."""
    optimiser: str = "adamw"
    """adamw, or sgd: with Nesterov's momentum of 0.9."""
    lr: float = 0.003
    """Peak learning rate; a short linear warm-up, then a cosine to zero."""
    weight_decay: float = 0.0


@dataclass
class FineTuneConfig:
    """Fine-tuning of the whole student, with labels and the teacher's soft targets."""

    epochs: int | None = None
    """Epochs; null: as many as make about 600 steps, at least one; 0: none."""
    optimiser: str = "adamw"
    lr: float = 0.001
    weight_decay: float = 0.0005
    temperature: float = 4.0
    soft_weight: float = 0.9
    """Share of the soft-target loss; the rest is cross-entropy with the labels."""


@dataclass
class BudgetConfig:
    """Limits on the cost of the student; candidates are then selected for the least harm."""

    macs: float | None = None
    """Share of the teacher's MACs."""
    parameters: float | None = None
    """Share of the teacher's parameters."""
    latency_ms: float | None = None
    """Milliseconds for a batch of `batch_size` images, predicted from each candidate's own."""
    harm: str = "divergence"
    """The quantity to minimise: divergence, drop or loss."""


@dataclass
class RunConfig:
    """A run. The first six keys are choices: a registered name and the options of that strategy."""

    teacher: dict[str, Any] = _choice("digits-vgg")
    data: dict[str, Any] = _choice("digits")
    partitioner: dict[str, Any] = _choice("auto")
    builder: dict[str, Any] = _choice("low-rank")
    scheduler: dict[str, Any] = _choice("auto")
    launcher: dict[str, Any] = _choice("local")
    meters: list[Any] = field(default_factory=lambda: ["nvml", "rapl"])
    candidates: list[Any] = field(default_factory=list)
    """Further builders: each block is trained with all of them, and the budget selects one."""
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    plugins: list[str] = field(default_factory=list)
    """Plugins to load besides the installed ones: modules or .py files."""
    keep: list[str] = field(default_factory=lambda: ["stem*", "head*"])
    """Segments that stay the teacher's; shell-style patterns."""
    views: int = 0
    """Augmented views of each training image that the blockwise phases see, drawn once, so that
    they can be cached; an epoch goes through all of them. 0: new ones in every epoch."""
    cache_gigabytes: float = 0.0
    """Maximum disk for the activation cache, in GB (0 = off)."""
    workers: int | str = 1
    """A number, or auto: the number whose plan is predicted fastest, from costs measured here."""
    threads: int | None = None
    """CPU threads of each worker; null: an equal share of the cores."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    autocast: str = "none"
    """none, bf16 or fp16: the type that the training phases compute in, where torch thinks it
    safe; accuracy is measured in full precision."""
    batch_size: int = 64
    seed: int = 0
    distill: DistillConfig = field(default_factory=DistillConfig)
    max_drop: float = 0.15
    """Keep the teacher's block where its replacement, swapped in alone, loses more accuracy."""
    recalibrate_batches: int = 16
    """Batches to recalibrate BatchNorm on, kept only if the validation split gains; 0: never."""
    finetune: FineTuneConfig = field(default_factory=FineTuneConfig)
    out: str = "runs"
    """Folder in which the run folder is created."""
