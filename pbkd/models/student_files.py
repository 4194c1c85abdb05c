"""A student's files: its weights, and the recipe that rebuilds its architecture."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pbkd.core.files import read_json, write_json
from pbkd.data.normalization import Normalization
from pbkd.errors import RunFolderError
from pbkd.models.weights import write_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn


__all__ = ["RECIPE", "WEIGHTS", "Recipe", "read_recipe", "student_folder", "write_student"]

RECIPE, WEIGHTS = "config.json", "model.safetensors"
_MOST_PIXELS = 2**26


@dataclass(frozen=True)
class Recipe:
    """How to rebuild a student's architecture.

    Attributes:
        teacher: The configuration's `teacher`, without its weights.
        partitioner: The partitioner and its options.
        replaced: The builder and its options of each replaced block.
        image_shape: The shape of one image, (C, H, W).
        normalization: How the student's images are normalised.
    """

    teacher: dict[str, Any]
    partitioner: dict[str, Any]
    replaced: dict[str, dict[str, Any]]
    image_shape: tuple[int, int, int]
    normalization: Normalization


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from an untrusted file.

    A recipe is data: its names are looked up among the plugins that are loaded already, and it
    names no file, because the weights are the one file beside it.

    Raises:
        RunFolderError: If it is not a valid recipe.
    """
    tree = read_json(path)
    if not isinstance(tree, dict) or tree.get("format") != 2:
        raise RunFolderError(f"'{path}' is not a recipe of this version of pbkd.")
    for key in ("teacher", "partitioner"):
        _check_choice(tree.get(key), f"'{key}' of '{path}'")
    shape, replaced = tree.get("image_shape"), tree.get("replaced")
    if not isinstance(shape, list) or not _is_shape(shape):
        raise RunFolderError(f"'image_shape' of '{path}' is no shape: channels, height, width.")
    if not isinstance(replaced, dict):
        raise RunFolderError(f"'replaced' of '{path}' does not say which blocks are, and by what.")
    for name, builder in replaced.items():
        _check_choice(builder, f"the builder of '{name}' in '{path}'")
    for key in ("mean", "std"):
        values = tree.get(key)
        if not isinstance(values, list) or len(values) != shape[0] or not _are_numbers(values):
            raise RunFolderError(f"'{key}' of '{path}' is no list of {shape[0]} numbers.")
    return Recipe(
        tree["teacher"], tree["partitioner"], replaced, (shape[0], shape[1], shape[2]),
        Normalization(tuple(tree["mean"]), tuple(tree["std"])),
    )  # fmt: skip


def write_student(folder: Path, student: nn.Module, recipe: Recipe, plugins: Sequence[str]) -> None:
    """Write a student's weights and recipe, named as on the Hugging Face hub.

    Args:
        folder: Where to write `model.safetensors` and `config.json`.
        student: The student's network.
        recipe: The choices that it was made by.
        plugins: The plugins that the run loaded, for the reader's information.
    """
    tree = {
        "library_name": "pbkd",
        "format": 2,
        "teacher": recipe.teacher,
        "partitioner": recipe.partitioner,
        "plugins": list(plugins),
        "image_shape": recipe.image_shape,
        **asdict(recipe.normalization),
        "replaced": recipe.replaced,
    }
    write_weights(folder / WEIGHTS, student.state_dict())
    write_json(folder / RECIPE, tree)


def _are_numbers(values: list[Any]) -> bool:
    return all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)


def _check_choice(choice: Any, where: str) -> None:
    if not isinstance(choice, dict) or not isinstance(choice.get("name"), str):
        raise RunFolderError(f"{where} is no choice: a name with its options.")
    if "weights" in choice:
        raise RunFolderError(f"{where} names a file of weights, which no recipe may.")
    if choice.get("pretrained") not in (None, True, False):
        raise RunFolderError(f"{where} has a 'pretrained' that is not true or false.")


def _is_shape(shape: list[Any]) -> bool:
    if len(shape) != 3:
        return False
    if not all(type(size) is int and 0 < size <= 2**16 for size in shape):
        return False
    return bool(shape[0] * shape[1] * shape[2] <= _MOST_PIXELS)


def student_folder(folder: Path) -> Path:
    """Return the folder with a student's files: `folder` itself, or `student` in a run folder."""
    return folder if (folder / RECIPE).is_file() else folder / "student"
