"""Measure what blocks of VGG-16 and ResNet-50 cost on ImageNet's shapes, as of a GPU.

    python docs/clusters/imagenet_costs.py vgg16 docs/clusters/vgg16-imagenet.json

Seconds are measured on one core, with random weights and images, batch 8, and taken to grow with
the batch. They are then divided by `SPEED`, with which the teacher VGG-16 takes 0.28 s for a batch
of 256: a GPU of about 900 images a second. To each block's step are added `OVERHEAD` seconds
that do not shrink with the batch: some 40 kernels of 10 microseconds.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

from pbkd.bench.presets import Preset
from pbkd.bench.rig import build_rigs
from pbkd.core.workload import Workload
from pbkd.planning.cost_files import CostTable, write_costs
from pbkd.planning.profiling import measure_costs
from pbkd.plugin.registry import build_registry
from pbkd.training.applied_loss import apply_to_blocks
from pbkd.training.learner import BlockMethod

MEASURED, BATCH, IMAGES, EPOCHS = 8, 256, 1_281_167, 2
SPEED = 400.0
OVERHEAD = 40 * 10e-6


def main(network: str, file: str) -> None:
    """Measure and write a file for `pbkd plan --costs`."""
    torch.set_num_threads(1)
    preset = Preset({"name": f"torchvision:{network}"}, (3, 224, 224), MEASURED, distinct_steps=1)
    registry = build_registry()
    rig, _ = build_rigs(registry, preset, 0, torch.device("cpu"))
    growth = BATCH / MEASURED
    scale = growth / SPEED
    method = BlockMethod(apply_to_blocks(rig.loss, rig.chain), rig.optimisation)
    costs = [
        replace(
            cost,
            prefix_seconds=cost.prefix_seconds * scale,
            teacher_seconds=cost.teacher_seconds * scale,
            train_seconds=cost.train_seconds * scale + OVERHEAD,
            read_seconds=cost.read_seconds * scale,
            input_bytes=int(cost.input_bytes * growth),
            overhead_seconds=OVERHEAD,
            rows=BATCH,
        )
        for cost in measure_costs(rig.chain, rig.replacements, rig.images[0], method).blocks
    ]
    steps = EPOCHS * -(-IMAGES // BATCH)
    about = (
        f"{network}, 224x224, batch {BATCH}, {EPOCHS} epochs of ImageNet; measured on one core with"
        f" batch {MEASURED}, taken to be {SPEED:g} times faster"
    )
    write_costs(Path(file), CostTable(about, tuple(costs), Workload(steps, steps)))
    last = costs[-1]
    print(f"{file}: teacher {last.prefix_seconds + last.teacher_seconds:.3f} s per batch")


if __name__ == "__main__":
    main(*sys.argv[1:])
