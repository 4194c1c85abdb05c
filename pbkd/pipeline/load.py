"""Loading of students, from run folders or from their own files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pbkd.config.load import load_config
from pbkd.models.adopt import adopt
from pbkd.models.plain.network_file import read_network
from pbkd.models.student import architecture
from pbkd.models.student_files import NETWORK, RECIPE, WEIGHTS, read_recipe, student_folder
from pbkd.models.student_input import attach_input
from pbkd.models.teacher import build_network, user_network_factory
from pbkd.models.weight_values import check_network
from pbkd.models.weights import fit_weights, read_weights
from pbkd.plugin.registry import build_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import nn

    from pbkd.config.schema import RunConfig
    from pbkd.models.student_files import Recipe
    from pbkd.plugin.registry import Registry


__all__ = ["Reloaded", "load", "load_trusted", "reload"]


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


def load_trusted(run: Path, make: Callable[[], nn.Module] | None = None) -> nn.Sequential:
    """Load the student of a run, with the code that the run names.

    A run folder is trusted: the plugins that its configuration names are loaded, and a function of
    the user's that builds the teacher is called.

    Args:
        run: A run folder, or a folder with a student's own files.
        make: Builds the teacher's network, in place of the function that the run names.

    Returns:
        The student, in evaluation mode.

    Raises:
        RunFolderError: If the folder holds no student.
        WeightsError: If its weights are damaged.
    """
    config = _configuration(run)
    if config is None:
        return load(run, make=make)
    registry = build_registry(config.plugins)
    own = user_network_factory(registry, config.teacher)
    return load(run, plugins=config.plugins, make=make or own)


def _configuration(run: Path) -> RunConfig | None:
    settings = run / "config.yaml"
    return load_config(file=settings) if settings.is_file() else None


def reload(run: Path) -> Reloaded:
    """Load the student of a run, and build its teacher, with the code that the run names.

    Args:
        run: A run folder, which is trusted, or a folder with a student's own files.

    Returns:
        The student and what it was made from.

    Raises:
        RunFolderError: If the folder holds no student.
        WeightsError: If its weights are damaged.
    """
    config = _configuration(run)
    registry = build_registry(config.plugins if config else [])
    recipe = read_recipe(student_folder(run) / RECIPE)
    make = user_network_factory(registry, config.teacher) if config else None
    teacher = adopt(make() if make else build_network(registry, recipe.teacher)).network
    return Reloaded(load_trusted(run), teacher, recipe, registry)


def load(
    folder: Path, *, plugins: Sequence[str] = (), make: Callable[[], nn.Module] | None = None
) -> nn.Sequential:
    """Load the student of a run folder, or of a folder with its own files: see `pbkd.load`."""
    home = student_folder(folder)
    recipe = read_recipe(home / RECIPE)
    weights = read_weights(home / WEIGHTS)
    if make is None and (home / NETWORK).is_file():
        student = read_network(home / NETWORK, weights)
    else:
        student = architecture(recipe, plugins, make)
        fit_weights(student, weights, home / WEIGHTS)
    check_network(student, f"in '{home / WEIGHTS}'")
    attach_input(student, recipe)
    return student.to(memory_format=torch.channels_last)
