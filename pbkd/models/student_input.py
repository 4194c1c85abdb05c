"""What a student's network knows of its input and output: preparation and class names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.data.preparation import Preparation
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from pbkd.models.student_files import Recipe


__all__ = ["attach_input", "attach_preparation", "class_names_of", "preparation_of"]


def attach_input(student: nn.Module, recipe: Recipe) -> None:
    """Set the attributes `preparation` and `class_names`; copies and pickles keep them."""
    vars(student).update(preparation=recipe.preparation, class_names=recipe.class_names)


def attach_preparation(network: nn.Module, preparation: Preparation) -> nn.Module:
    """Set the attribute `preparation` of another network, such as a teacher; return the network."""
    vars(network).update(preparation=preparation, class_names=None)
    return network


def preparation_of(student: nn.Module) -> Preparation:
    """Return how pictures become a student's input.

    Raises:
        ConfigError: If the network is no student of pbkd, or the copy of one without it.
    """
    preparation = getattr(_unwrapped(student), "preparation", None)
    if not isinstance(preparation, Preparation):
        raise ConfigError(
            f"this {type(student).__name__} does not know how its images are prepared: give what"
            " pbkd.load or pbkd.compress returned, or the folder of the run or student."
        )
    return preparation


def class_names_of(student: nn.Module) -> tuple[str, ...] | None:
    """Return the names of a student's classes; None if they are unknown."""
    names: tuple[str, ...] | None = getattr(_unwrapped(student), "class_names", None)
    return names


def _unwrapped(student: nn.Module) -> nn.Module:
    """Look inside DataParallel, compiled and averaged networks."""
    for name in ("module", "_orig_mod"):
        inner = student._modules.get(name)
        if inner is not None and not hasattr(student, "preparation"):
            return _unwrapped(inner)
    return student
