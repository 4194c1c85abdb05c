"""Schema of the configuration: typed dataclasses with defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "AUTO",
    "CHOICES",
    "DEFAULT_BUILDER",
    "LEFT_BY_PLUGINS",
    "LISTS",
    "STRATEGIES",
    "DistillConfig",
    "FineTuneConfig",
    "RunConfig",
    "TargetConfig",
]

STRATEGIES = {
    "data": "data",
    "augmentation": "augmentation",
    "partitioner": "partitioner",
    "builder": "builder",
    "scheduler": "scheduler",
    "launcher": "launcher",
    "distill.loss": "loss",
    "distill.optimiser": "optimiser",
    "distill.schedule": "lr-schedule",
    "finetune.loss": "loss",
    "finetune.optimiser": "optimiser",
    "finetune.schedule": "lr-schedule",
    "target.selector": "selector",
    "target.engine": "engine",
}
"""The slot from which each key, dotted in sections, selects a strategy."""
LISTS = {"meters": "meter", "observers": "observer", "exports": "exporter"}
"""The slot from which each key selects any number of strategies."""
LEFT_BY_PLUGINS = ("finetune.loss", "exports")
"""Keys that `--plugin` does not set: a plugin's loss is for the blockwise phases, its exporter for
`pbkd export`."""
CHOICES = ("teacher", *STRATEGIES, "optimiser", "schedule")
"""Keys that hold a choice: a mapping of `name` and the options below that name."""
AUTO = "auto"
"""The name by which pbkd chooses itself."""
DEFAULT_BUILDER = "low-rank"
"""The builder that `auto` asks first, and whose options `builder` has where it has no name."""


def _choice(name: str) -> Any:
    return field(default_factory=lambda: {"name": name})


@dataclass(kw_only=True)
class DistillConfig:
    """The blockwise phases, which train each replacement to reproduce its block's output."""

    epochs: int | None = None
    """Teacher-fed epochs; null: a fifth of the epochs of fine-tuning that suit images and student,
    at least one; below 1,000 images about 300 steps."""
    student_fed_epochs: int = 0
    """Student-fed epochs; 0: none."""
    loss: dict[str, Any] = _choice("nmse")
    """`nmse` (squared error divided by the squared norm of the target), `nmse-per-sample` (the same
    per image, averaged), `mse`, `cosine`, `attention-transfer` (also where activations are large),
    `relational` (also distances and angles between images), or a plugin's loss."""
    optimiser: dict[str, Any] = _choice("adamw")
    """`adamw`, `sgd`, or a plugin's optimiser."""
    lr: float = 0.003
    """Peak learning rate; a block that diverges is trained again at a tenth of it."""
    schedule: dict[str, Any] = _choice("cosine")
    """The learning rate schedule: `cosine`, `linear` or `constant`, each after a linear warm-up, or
    a plugin's."""
    weight_decay: float = 0.0
    """The optimiser's weight decay."""


@dataclass(kw_only=True)
class FineTuneConfig:
    """Fine-tuning of the whole student, with the teacher's outputs and labels."""

    epochs: int | None = None
    """Epochs; null: the more, the fewer images, layers and parameters of the student there are, but
    none below 1,000 images; 0: none."""
    loss: dict[str, Any] = _choice("joint")
    """The loss between the student's outputs and the teacher's: `joint` (the error of every
    segment's output, and the teacher's soft targets), `soft-target` (soft targets, and
    cross-entropy with the labels), or any loss of the blockwise phases."""
    optimiser: dict[str, Any] = _choice("adamw")
    """`adamw`, `sgd`, or a plugin's optimiser."""
    lr: float = 0.001
    """Peak learning rate; a tenth of it from the epoch on in which the loss explodes."""
    schedule: dict[str, Any] = _choice("cosine")
    """The learning rate schedule: `cosine`, `linear` or `constant`, or a plugin's."""
    weight_decay: float = 0.0005
    """The optimiser's weight decay."""


@dataclass(kw_only=True)
class TargetConfig:
    """What the student may cost, and lose; within its cost the total harm is minimised."""

    macs: float | None = None
    """Maximum MACs, as a share of the teacher's."""
    parameters: float | None = None
    """Maximum parameters, as a share of the teacher's."""
    bytes: float | None = None
    """Maximum bytes of the student's parameters and buffers."""
    speedup: float | None = None
    """Minimum ratio of the teacher's latency to the student's, for `batch` images on this
    device."""
    latency_ms: float | None = None
    """Maximum milliseconds of a forward pass of `batch` images on this device."""
    batch: int | None = None
    """Images of the batch whose latency is limited; null: `batch_size`."""
    curve: list[float] | None = None
    """A student for each of these shares of the teacher's MACs, from one teacher-fed phase, to
    choose among; in place of the limits above."""
    max_drop: float | None = None
    """Maximum points of accuracy (without labels, of agreement with the teacher) that the whole
    student may lose, at 95 % confidence. A student that keeps it on the validation split is not
    fine-tuned; others are, in two rounds, the second of which only those that do not keep it after
    the first. Without a limit on the cost, the student with the fewest MACs is sought."""
    block_drop: float = 15.0
    """Maximum points of validation accuracy that a replacement may lose when it is tested alone in
    the teacher; beyond it, the teacher's block stays. Below 100 validation images, the lower end of
    the loss's 95 % interval counts."""
    harm: str = "divergence"
    """The quantity to minimise: `divergence` of the teacher's outputs on the validation split when
    the candidate is swapped in alone; `drop` in accuracy; or `loss`, the last teacher-fed loss of
    the candidate."""
    selector: dict[str, Any] = _choice("milp")
    """The selector of the candidates: `milp`, which is exact, or a plugin's."""
    engine: dict[str, Any] = _choice("torch")
    """What executes the networks whose latency is limited: `torch`, on the CPU also
    `onnxruntime`, `openvino` or `inductor`, or a plugin's."""


@dataclass(kw_only=True)
class RunConfig:
    """Configuration of a run.

    The first seven keys are choices: mappings of a registered `name` and the options below it. So
    are `loss`, `optimiser` and `schedule` in the sections.
    """

    teacher: dict[str, Any] = _choice("digits-vgg")
    """The network to compress; `pbkd zoo list` lists the names."""
    data: dict[str, Any] = _choice("digits")
    """The data source, or `MODULE:FUNCTION` that loads your own."""
    augmentation: dict[str, Any] = _choice("source")
    """The random changes to training images; `source`: as the data source says, by its options
    `data.crop` and `data.flip`; `none`: no changes."""
    partitioner: dict[str, Any] = _choice("auto")
    """The partitioner, which cuts the teacher into blocks; `auto` uses the first installed one that
    accepts the network, with `fx`, which accepts any, as the fallback. With a target, and neither
    `builder` nor `keep` set, a ResNet with long stages is cut into these."""
    builder: dict[str, Any] = _choice("auto")
    """The builder of the replacements; `auto` asks `low-rank` for each block, then the other
    builders that offer several sizes, with those for any block, such as `inverted-residual`, last,
    and takes the first replacement that is cheaper. Options without a name belong to
    `low-rank`."""
    scheduler: dict[str, Any] = _choice("auto")
    """The scheduler, which assigns blocks to workers; `auto` uses the installed one whose schedule
    is predicted to be fastest."""
    launcher: dict[str, Any] = _choice("local")
    """The launcher, which starts the workers."""
    meters: list[Any] = field(default_factory=lambda: ["nvml", "rapl"])
    """Energy meters: names, or mappings of a `name` and options."""
    observers: list[Any] = field(default_factory=list)
    """Observers, which follow the run: names, or mappings of a `name` and options. `--plugin` adds
    those that it registers."""
    exports: list[Any] = field(default_factory=list)
    """Formats in which the student is exported at the end and measured: names, or mappings of a
    `name` and options."""
    candidates: list[Any] | None = None
    """Additional builders, as mappings of a `name` and options. Every block is trained with each of
    them in the same teacher pass, and the target's limits select one per block. null: if the target
    limits the cost or the loss and `builder` has no options, all sizes that the builder offers;
    with `auto` all sizes of all builders that fit the block."""
    target: TargetConfig = field(default_factory=TargetConfig)
    """What the student may cost, and lose."""
    plugins: list[str] = field(default_factory=list)
    """Plugins to load in addition to the installed ones: modules or `.py` files."""
    keep: list[str] = field(default_factory=lambda: ["stem*", "head*"])
    """Segments of the teacher that are never replaced; shell-style patterns."""
    views: int = 0
    """Fixed augmented views of each training image for the blockwise phases, drawn once so that
    they can be cached; an epoch contains all of them. 0: new augmentation in every epoch."""
    cache_gigabytes: float = 0.0
    """Maximum disk for the activation cache, in GB (0 = off)."""
    workers: int | str = 1
    """Number of worker processes; a single worker runs in the main process. `auto`: the number
    (1, 2, 4 …) with the fastest predicted plan, from costs measured with that number's share of the
    threads."""
    threads: int | None = None
    """CPU threads per worker; null: an equal share of the cores. The main process uses no more than
    all workers together."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `mps`."""
    autocast: str = "none"
    """Mixed precision in the training phases: `none`, `bf16` or `fp16`. Accuracy is measured in
    full precision."""
    batch_size: int = 64
    """Images per training step."""
    seed: int = 0
    """Seed of all randomness: initial weights, order of the images, augmentation."""
    distill: DistillConfig = field(default_factory=DistillConfig)
    """The blockwise phases."""
    recalibrate_batches: int = 16
    """Training batches for re-estimating BatchNorm statistics, kept only if validation accuracy
    improves; 0: off."""
    finetune: FineTuneConfig = field(default_factory=FineTuneConfig)
    """Fine-tuning of the whole student."""
    allow_chance: bool = False
    """Whether to compress a teacher that is hardly better than chance on test and validation split.
    """
    out: str = "runs"
    """The parent of the run folders; `latest` in it points to the newest."""
