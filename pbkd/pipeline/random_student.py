"""A run's student with random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pbkd.core.seeding import derive_seed
from pbkd.models.student import architecture
from pbkd.models.student_files import RECIPE, read_recipe, student_folder
from pbkd.models.teacher import user_network_factory
from pbkd.plugin.user_code import trusting_registry

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from pbkd.config.schema import RunConfig


__all__ = ["random_student"]


def random_student(folder: Path, config: RunConfig) -> nn.Sequential:
    """Build the student of a run with random weights.

    The weights depend on the run's seed alone, not on the teacher's weights. Layers without
    `reset_parameters` keep the weights that they are built with.

    Args:
        folder: The run folder.
        config: The run's configuration, whose code is trusted.

    Returns:
        The network, on the CPU.

    Raises:
        RunFolderError: If the run has no student.
    """
    recipe = read_recipe(student_folder(folder) / RECIPE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "baseline"))
        make = user_network_factory(
            trusting_registry(config.plugins, config.teacher["name"]), config.teacher
        )
        student = architecture(recipe, config.plugins, make)
        for module in student.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return student
