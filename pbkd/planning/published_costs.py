"""Seconds per job that others published, as costs per step, by a split in proportion to MACs.

The layout is `{"runs": [{"setting": TEXT, "by_workers": {N: {"blocks": [{"name", "seconds"}]}}}]}`:
whole seconds of the paper's jobs (arXiv 2012.03096), each a pass of the teacher up to its block
and the training of that block, over a whole run. The split into the two is a model:

- Of a job's seconds, the teacher has the share of its MACs; the replacement's count three times,
  forward and backward.
- A later job contains the teacher of every earlier one. So the teacher up to a block takes no more
  than any later job leaves for it: the least over this job and all after it.
- The rest of each job's seconds is training. Teacher and training together are therefore what was
  recorded, to the last digit, and schedules of one job per block are predicted from records alone.

Where later jobs show the teacher to be faster than a job's own split, the difference counts as its
training, which it shares with no other block. What takes time without MACs (images, launches) is
taken to divide as MACs do. docs/plan.md says how far off this can be.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from pbkd.core.blocks import BlockCost
from pbkd.errors import ConfigError
from pbkd.planning.plan import Workload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


__all__ = ["NETWORKS", "Record", "Target", "choose_run", "split_seconds", "workload_of"]

_CIFAR_IMAGES = 50_000
_LIMIT = 1e9  # seconds: what is beyond is a mistake
_SETTING = 400  # characters


@dataclass(frozen=True)
class Target:
    """A 3x3 convolution of a teacher, on maps of `side` x `side`.

    `gap` is the MACs of one image between the target before (or the image) and this one.
    """

    name: str
    inputs: int
    outputs: int
    side: int
    gap: int = 0

    @property
    def macs(self) -> int:
        """The convolution's own, for one image."""
        return 9 * self.inputs * self.outputs * self.side**2

    @property
    def replacement_parameters(self) -> int:
        """Those of the paper's replacement, without biases: two depthwise-separable pairs."""
        wide = self.outputs
        return (9 + wide) * self.inputs + (9 + wide) * wide

    @property
    def replacement_macs(self) -> int:
        """Those of the paper's replacement, for one image."""
        return self.replacement_parameters * self.side**2


def _vgg16() -> tuple[Target, ...]:
    """Return VGG-16's convolutions, for images of 32 x 32."""
    targets, inputs = [], 3
    for stage, (outputs, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        for index in range(depth):
            name = f"block{stage + 1}_conv{index + 1}"
            targets.append(Target(name, inputs, outputs, 32 >> stage))
            inputs = outputs
    return tuple(targets)


def _resnet50() -> tuple[Target, ...]:
    """Return the middle convolutions of ResNet-50's bottlenecks, for images of 64 x 64."""
    targets, inputs = [], 64
    gap = 7 * 7 * 3 * 64 * 32**2
    for stage, (width, depth) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        side = 16 >> stage
        for index in range(depth):
            gap += inputs * width * side**2
            name = f"conv{stage + 2}_block{index + 1}_2_conv"
            targets.append(Target(name, width, width, side, gap))
            shortcut = inputs * 4 * width if index == 0 else 0
            gap = (4 * width * width + shortcut) * side**2
            inputs = 4 * width
    return tuple(targets)


NETWORKS = {"VGG-16": _vgg16(), "ResNet-50": _resnet50()}


@dataclass(frozen=True)
class Record:
    """Whole seconds of every job, by block, in a run of so many workers."""

    setting: str
    workers: int
    seconds: Mapping[str, float]


def choose_run(runs: Any, wanted: str | None, path: Path) -> Record:
    """Return the record of the run that `wanted` asks for.

    `wanted` is a part of one setting's text, with `@N` behind it for the record of N workers
    (otherwise: of the most). Raises `ConfigError`, which lists the settings, where it fits none or
    several.
    """
    text, _, count = (wanted or "").partition("@")
    found = [run for run in _listed(runs, path) if text.strip().lower() in run["setting"].lower()]
    if len(found) != 1:
        those = "; ".join(run["setting"] for run in found or runs)
        which = f"{'several settings' if found else 'no setting'} with '{text}'"
        raise ConfigError(f"'{path}' has {which}: choose with --setting one of {those}.")
    records = found[0]["by_workers"]
    key = count.strip() or max(records, key=int)
    if key not in records:
        raise ConfigError(
            f"'{path}' has no record of {key} workers in that setting, but of {', '.join(records)}."
        )
    setting = found[0]["setting"]
    return Record(setting, int(key), _seconds(records[key], f"'{path}', {setting}@{key}"))


def split_seconds(record: Record) -> list[BlockCost]:
    """Return costs per step from whole seconds of each job; raises `ConfigError`.

    `input_bytes` are of float32, `parameter_bytes` the paper's replacement's.
    """
    setting, seconds = record.setting, record.seconds
    targets = _targets(setting)
    if set(seconds) != {target.name for target in targets}:
        wanted = f"{targets[0].name} to {targets[-1].name}"
        raise ConfigError(
            f"the record of '{setting}' must have all blocks, {wanted}, and no other."
        )
    steps, batch = workload_of(setting).steps, _number(r"batch (\d+)", setting)
    before = 0.0
    costs = []
    for target, until in zip(targets, _teacher(targets, seconds), strict=True):
        own = (until - before) * target.macs / (target.gap + target.macs)
        costs.append(
            BlockCost(
                target.name,
                prefix_seconds=(until - own) / steps,
                teacher_seconds=own / steps,
                train_seconds=(seconds[target.name] - until) / steps,
                input_bytes=4 * batch * target.inputs * target.side**2,
                parameter_bytes=4 * target.replacement_parameters,
                exchanges=2,
                rows=batch,
            )
        )
        before = until
    return costs


def workload_of(setting: str) -> Workload:
    """Return the steps that a setting's text gives; all are distinct, as images are augmented."""
    if "CIFAR-10" not in setting:
        raise ConfigError(f"the setting '{setting}' does not say that the images are CIFAR-10's.")
    batch, epochs = _number(r"batch (\d+)", setting), _number(r"(\d+) epochs", setting)
    steps = epochs * math.ceil(_CIFAR_IMAGES / batch)
    return Workload(steps, steps)


def _teacher(targets: Sequence[Target], seconds: Mapping[str, float]) -> list[float]:
    """Return the teacher's seconds up to and with each target."""
    shares = []
    until = 0
    for target in targets:
        until += target.gap + target.macs
        share = until / (until + 3 * target.replacement_macs)
        shares.append(share * seconds[target.name])
    return list(accumulate(reversed(shares), min))[::-1]


def _targets(setting: str) -> tuple[Target, ...]:
    for name, targets in NETWORKS.items():
        if name in setting:
            return targets
    raise ConfigError(f"the setting '{setting}' names no network of {', '.join(NETWORKS)}.")


def _number(pattern: str, setting: str) -> int:
    found = re.search(pattern, setting)
    if not found or not 0 < int(found[1]) <= _CIFAR_IMAGES:
        raise ConfigError(f"the setting '{setting}' must say 'batch N' and 'N epochs'.")
    return int(found[1])


def _listed(runs: Any, path: Path) -> list[dict[str, Any]]:
    """Return the runs, if each has a setting and records by numbers of workers."""
    if not isinstance(runs, list) or not runs or not all(map(_is_run, runs)):
        raise ConfigError(f"'{path}': each of 'runs' must have a 'setting' and 'by_workers'.")
    return runs


def _is_run(run: Any) -> bool:
    if not isinstance(run, dict):
        return False
    setting, records = run.get("setting"), run.get("by_workers")
    if not isinstance(setting, str) or not setting.isprintable() or len(setting) > _SETTING:
        return False
    return isinstance(records, dict) and bool(records) and all(map(_is_count, records))


def _is_count(key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) < 6


def _seconds(record: Any, where: str) -> dict[str, float]:
    """Return seconds by block; raises `ConfigError` for what is no list of them."""
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
    return type(seconds) in (int, float) and bool(0 <= seconds <= _LIMIT)
