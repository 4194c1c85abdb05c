"""Loading of students, from run folders or from their own files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pbkd.config.load import load_config
from pbkd.models.adopt import adopt
from pbkd.models.student import architecture
from pbkd.models.student_files import RECIPE, WEIGHTS, read_recipe, student_folder
from pbkd.models.student_input import attach_input
from pbkd.models.teacher import build_network, user_network_factory
from pbkd.models.weights import fit_weights, read_weights
from pbkd.plugin.registry import build_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import nn

    from pbkd.models.student_files import Recipe
    from pbkd.plugin.registry import Registry


__all__ = ["Reloaded", "load", "reload"]


@dataclass(frozen=True)
class Reloaded:
    """A student and what it was made from.

    Attributes:
        student: The student, in evaluation mode.
        teacher: The teacher's network, without trained weights.
        recipe: The choices that the student was made by.
        registry: The plugins.
    """

    student: nn.Sequential
    teacher: nn.Module
    recipe: Recipe
    registry: Registry


def reload(run: Path) -> Reloaded:
    """Load the student of a run, with the code that the run names.

    A run folder is trusted: the plugins that its configuration names are loaded, and a function of
    the user's that builds the teacher is called.

    Args:
        run: A run folder, or a folder with a student's own files.

    Returns:
        The student and what it was made from.

    Raises:
        RunFolderError: If the folder holds no student.
        WeightsError: If its weights are damaged.
    """
    settings = run / "config.yaml"
    config = load_config(file=settings) if settings.is_file() else None
    plugins = config.plugins if config else []
    registry = build_registry(plugins)
    make = user_network_factory(registry, config.teacher) if config else None
    recipe = read_recipe(student_folder(run) / RECIPE)
    student = load(run, plugins=plugins, make=make)
    teacher = adopt(make() if make else build_network(registry, recipe.teacher)).network
    return Reloaded(student, teacher, recipe, registry)


def load(
    folder: Path, *, plugins: Sequence[str] = (), make: Callable[[], nn.Module] | None = None
) -> nn.Sequential:
    """Load the student of a run folder, or of a folder with its own files: see `pbkd.load`."""
    home = student_folder(folder)
    recipe = read_recipe(home / RECIPE)
    student = architecture(recipe, plugins, make)
    path = home / WEIGHTS
    weights = read_weights(path)
    fit_weights(student, weights, path)
    attach_input(student, recipe)
    return student.to(memory_format=torch.channels_last)
