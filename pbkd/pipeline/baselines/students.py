"""A run's student before any training: as the run started it, or with random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pbkd.core.blocks import candidate_of
from pbkd.core.seeding import derive_seed
from pbkd.models.chain import describe_blocks
from pbkd.models.rebuilding import rebuild
from pbkd.models.student import architecture, assemble
from pbkd.models.student_files import RECIPE, read_recipe, student_folder
from pbkd.models.teacher import user_network_factory
from pbkd.pipeline.initial_weights import read_initial_weights
from pbkd.plugin.user_code import trusting_registry

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from pbkd.config.schema import RunConfig
    from pbkd.core.results import RunResult
    from pbkd.plugin.registry import Registry
    from pbkd.training.task import DistillationTask


__all__ = ["random_student", "same_start_student"]


def same_start_student(
    folder: Path, result: RunResult, task: DistillationTask, registry: Registry
) -> nn.Sequential:
    """Build the student of a run as the run started it: with the initial weights in its folder.

    Args:
        folder: The run folder.
        result: The result, which says which candidates entered the student.
        task: The run's teacher.
        registry: The plugins.

    Returns:
        The network, on the task's device.

    Raises:
        RunFolderError: If the initial weights are missing or damaged.
        PluginError: If a builder fails, or no longer replaces a block.
    """
    rows = {row.name: row for row in result.candidates or result.blocks if row.replaced}
    by_block = {candidate_of(name)[0]: name for name in rows}
    replacements = {}
    for block in describe_blocks(task.chain, task.images[:1], by_block):
        name = by_block[block.name]
        builder = registry.create("builder", rows[name].builder)
        replacement = rebuild(builder, task.chain[block.position], block, seed=0)
        replacements[block.name] = read_initial_weights(folder, replacement, name)
    return assemble(task.chain, replacements).to(task.device)


def random_student(folder: Path, config: RunConfig, seed: int) -> nn.Sequential:
    """Build the student of a run with random weights.

    The weights depend on the seed alone, not on the teacher's weights. Layers without
    `reset_parameters` keep the weights that they are built with.

    Args:
        folder: The run folder.
        config: The run's configuration, whose code is trusted.
        seed: The seed of the weights.

    Returns:
        The network, on the CPU.

    Raises:
        RunFolderError: If the run has no student.
    """
    recipe = read_recipe(student_folder(folder) / RECIPE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "baseline"))
        make = user_network_factory(
            trusting_registry(config.plugins, config.teacher["name"]), config.teacher
        )
        student = architecture(recipe, config.plugins, make)
        for module in student.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return student
