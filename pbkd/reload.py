"""A student loaded again, from its run with the code that the run named, or from its own files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.config import load_config
from pbkd.entries import RECIPE, student_home
from pbkd.recipe import read_recipe
from pbkd.registry import build_registry
from pbkd.student import load
from pbkd.zoo import build_network, own_maker

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from pbkd.recipe import Recipe
    from pbkd.registry import Registry

__all__ = ["Reloaded", "reload"]


@dataclass(frozen=True)
class Reloaded:
    """A student, its teacher's network with whatever weights it is built with, its recipe."""

    student: nn.Sequential
    teacher: nn.Module
    recipe: Recipe
    registry: Registry


def reload(run: Path) -> Reloaded:
    """Load the student of a run's folder, of one with its own files, or of that name in the zoo.

    A run's folder is the user's own: plugins that it names are loaded, and a teacher's function of
    the user's own is called.
    """
    settings = run / "config.yaml"
    config = load_config(file=settings) if settings.is_file() else None
    plugins = config.plugins if config else []
    registry = build_registry(plugins)
    make = own_maker(registry, config.teacher) if config else None
    recipe = read_recipe(student_home(run) / RECIPE)
    student = load(run, plugins=plugins, make=make)
    return Reloaded(
        student, make() if make else build_network(registry, recipe.teacher), recipe, registry
    )
