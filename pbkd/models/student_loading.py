"""Loading of a student from its files, without the code and the settings of its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pbkd.models.plain.network_file import read_network
from pbkd.models.student import architecture
from pbkd.models.student_files import NETWORK, RECIPE, WEIGHTS, read_recipe, student_folder
from pbkd.models.student_input import attach_input
from pbkd.models.weight_values import check_network
from pbkd.models.weights import fit_weights, read_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import nn


__all__ = ["load_student"]


def load_student(
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
