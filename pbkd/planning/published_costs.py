"""Costs per step from published seconds per job, split in proportion to MACs.

The format is `{"runs": [{"setting": TEXT, "by_workers": {N: {"blocks": [{"name", "seconds"}]}}}]}`,
with the seconds of the paper's jobs (arXiv 2012.03096) over a whole run. Each job runs the teacher
up to its block and trains that block. The split into teacher and training is a model:

- The teacher gets the fraction of a job's seconds that its MACs have of all MACs, where the
  replacement's count three times, for forward and backward.
- A later job contains the teacher pass of every earlier one. So the teacher's seconds up to a block
  are at most the teacher's seconds of any later job: the minimum over this job and all after it.
- The rest of each job's seconds is training. Teacher and training therefore add up exactly to the
  published seconds, and schedules with one job per block are predicted from these alone.

If later jobs show that the teacher is faster than the split says, the difference counts as
training. Time without MACs (loading images, kernel launches) is assumed to divide as MACs do.
docs/plan.md gives the error.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from pbkd.core.blocks import BlockCost
from pbkd.core.workload import Workload
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


__all__ = [
    "NETWORKS",
    "PublishedRun",
    "ReplacedConvolution",
    "choose_run",
    "split_seconds",
    "workload_of",
]

_CIFAR_IMAGES = 50_000
_MAX_SECONDS = 1e9
_MAX_CHARACTERS = 400  # of a setting


@dataclass(frozen=True)
class ReplacedConvolution:
    """A 3x3 convolution that the paper replaces.

    Attributes:
        name: Name of the block.
        inputs: Input channels.
        outputs: Output channels.
        side: Height and width of the feature maps.
        teacher_macs_before: The teacher's MACs per image between the previous target (or the
            image) and this one.
    """

    name: str
    inputs: int
    outputs: int
    side: int
    teacher_macs_before: int = 0

    @property
    def macs(self) -> int:
        """MACs of the convolution, for one image."""
        return 9 * self.inputs * self.outputs * self.side**2

    @property
    def replacement_parameters(self) -> int:
        """Parameters of the paper's replacement, two depthwise-separable pairs without biases."""
        wide = self.outputs
        return (9 + wide) * self.inputs + (9 + wide) * wide

    @property
    def replacement_macs(self) -> int:
        """MACs of the paper's replacement, for one image."""
        return self.replacement_parameters * self.side**2


def _vgg16() -> tuple[ReplacedConvolution, ...]:
    """Return VGG-16's convolutions, for images of 32 x 32."""
    targets, inputs = [], 3
    for stage, (outputs, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        for index in range(depth):
            name = f"block{stage + 1}_conv{index + 1}"
            targets.append(ReplacedConvolution(name, inputs, outputs, 32 >> stage))
            inputs = outputs
    return tuple(targets)


def _resnet50() -> tuple[ReplacedConvolution, ...]:
    """Return the middle convolutions of ResNet-50's bottlenecks, for images of 64 x 64."""
    targets, inputs = [], 64
    teacher_macs_before = 7 * 7 * 3 * 64 * 32**2
    for stage, (width, depth) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        side = 16 >> stage
        for index in range(depth):
            teacher_macs_before += inputs * width * side**2
            name = f"conv{stage + 2}_block{index + 1}_2_conv"
            targets.append(ReplacedConvolution(name, width, width, side, teacher_macs_before))
            shortcut = inputs * 4 * width if index == 0 else 0
            teacher_macs_before = (4 * width * width + shortcut) * side**2
            inputs = 4 * width
    return tuple(targets)


NETWORKS = {"VGG-16": _vgg16(), "ResNet-50": _resnet50()}


@dataclass(frozen=True)
class PublishedRun:
    """A published run.

    Attributes:
        setting: Network, data, batch size and epochs, as published.
        workers: Number of workers.
        seconds: Seconds of each job, by block.
    """

    setting: str
    workers: int
    seconds: Mapping[str, float]


def choose_run(runs: Any, wanted: str | None, path: Path) -> PublishedRun:
    """Select one run of a file of published seconds.

    Args:
        runs: The file's `runs`, unchecked.
        wanted: A part of one setting's text, optionally followed by `@N` for N workers (default:
            the most workers). None if the file has a single setting.
        path: The file, for messages.

    Returns:
        The run.

    Raises:
        ConfigError: If `runs` is malformed, or no or several settings match.
    """
    text, _, count = (wanted or "").partition("@")
    part = text.strip().lower()
    matches = [run for run in _checked(runs, path) if part in run["setting"].lower()]
    if len(matches) != 1:
        settings = "; ".join(run["setting"] for run in matches or runs)
        which = f"{'several settings' if matches else 'no setting'} with '{text}'"
        raise ConfigError(f"'{path}' has {which}: select one with --setting from {settings}.")
    records = matches[0]["by_workers"]
    key = count.strip() or max(records, key=int)
    if key not in records:
        raise ConfigError(
            f"'{path}' has no record of {key} workers for this setting, only of"
            f" {', '.join(records)}."
        )
    setting = matches[0]["setting"]
    return PublishedRun(setting, int(key), _seconds(records[key], f"'{path}', {setting}@{key}"))


def split_seconds(run: PublishedRun) -> list[BlockCost]:
    """Split a run's seconds into costs per step.

    Args:
        run: The seconds of each job.

    Returns:
        Costs in the order of the chain; bytes are for float32 and the paper's replacement.

    Raises:
        ConfigError: If the setting is not understood, or a block of the network is missing.
    """
    setting, seconds = run.setting, run.seconds
    targets = _targets(setting)
    if set(seconds) != {target.name for target in targets}:
        wanted = f"{targets[0].name} to {targets[-1].name}"
        raise ConfigError(
            f"the record of '{setting}' must have exactly the blocks {wanted} of the network."
        )
    steps, batch = workload_of(setting).steps, _number(r"batch (\d+)", setting)
    seconds_before = 0.0
    costs = []
    for target, seconds_up_to in zip(targets, _teacher_seconds(targets, seconds), strict=True):
        macs = target.teacher_macs_before + target.macs
        teacher = (seconds_up_to - seconds_before) * target.macs / macs
        costs.append(
            BlockCost(
                target.name,
                prefix_seconds=(seconds_up_to - teacher) / steps,
                teacher_seconds=teacher / steps,
                train_seconds=(seconds[target.name] - seconds_up_to) / steps,
                input_bytes=4 * batch * target.inputs * target.side**2,
                parameter_bytes=4 * target.replacement_parameters,
                exchanges=2,
                rows=batch,
            )
        )
        seconds_before = seconds_up_to
    return costs


def workload_of(setting: str) -> Workload:
    """Read the steps from a setting's text; all are distinct, because images are augmented."""
    if "CIFAR-10" not in setting:
        raise ConfigError(f"the setting '{setting}' must name CIFAR-10, the only supported data.")
    batch, epochs = _number(r"batch (\d+)", setting), _number(r"(\d+) epochs", setting)
    steps = epochs * math.ceil(_CIFAR_IMAGES / batch)
    return Workload(steps, steps, epochs)


def _teacher_seconds(
    targets: Sequence[ReplacedConvolution], seconds: Mapping[str, float]
) -> list[float]:
    """Return the teacher's seconds up to and including each target."""
    shares = []
    macs_up_to = 0
    for target in targets:
        macs_up_to += target.teacher_macs_before + target.macs
        share = macs_up_to / (macs_up_to + 3 * target.replacement_macs)
        shares.append(share * seconds[target.name])
    return list(accumulate(reversed(shares), min))[::-1]


def _targets(setting: str) -> tuple[ReplacedConvolution, ...]:
    for name, targets in NETWORKS.items():
        if name in setting:
            return targets
    raise ConfigError(f"the setting '{setting}' must name one of {', '.join(NETWORKS)}.")


def _number(pattern: str, setting: str) -> int:
    match = re.search(pattern, setting)
    if not match or not 0 < int(match[1]) <= _CIFAR_IMAGES:
        raise ConfigError(f"the setting '{setting}' must contain 'batch N' and 'N epochs'.")
    return int(match[1])


def _checked(runs: Any, path: Path) -> list[dict[str, Any]]:
    """Return the runs; raise `ConfigError` unless each has a setting and records by workers."""
    if not isinstance(runs, list) or not runs or not all(map(_is_run, runs)):
        raise ConfigError(f"'{path}': each of 'runs' must have a 'setting' and 'by_workers'.")
    return runs


def _is_run(run: Any) -> bool:
    if not isinstance(run, dict):
        return False
    setting, records = run.get("setting"), run.get("by_workers")
    if not isinstance(setting, str) or not setting.isprintable() or len(setting) > _MAX_CHARACTERS:
        return False
    return isinstance(records, dict) and bool(records) and all(map(_is_count, records))


def _is_count(key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) < 6


def _seconds(record: Any, where: str) -> dict[str, float]:
    """Return the seconds by block; raise `ConfigError` if the record is malformed."""
    blocks = record.get("blocks") if isinstance(record, dict) else None
    if not isinstance(blocks, list) or not all(map(_is_block, blocks)):
        raise ConfigError(f"{where}: each of 'blocks' must have a 'name' and 'seconds'.")
    seconds = {block["name"]: float(block["seconds"]) for block in blocks}
    if len(seconds) < len(blocks):
        raise ConfigError(f"{where}: two of 'blocks' have the same name.")
    return seconds


def _is_block(block: Any) -> bool:
    if not isinstance(block, dict) or not isinstance(block.get("name"), str):
        return False
    seconds: Any = block.get("seconds")
    return type(seconds) in (int, float) and bool(0 <= seconds <= _MAX_SECONDS)
