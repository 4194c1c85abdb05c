"""A student's recipe: the names and options that rebuild its architecture, as plain JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pbkd.errors import RunFolderError
from pbkd.journal import read_json

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Recipe", "read_recipe"]

_MOST_PIXELS = 2**26


@dataclass(frozen=True)
class Recipe:
    """The choices that a student was made by, the shape of an image, each replaced block's builder.

    `mean` and `std` normalise its images.
    """

    teacher: dict[str, Any]
    partitioner: dict[str, Any]
    replaced: dict[str, dict[str, Any]]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def read_recipe(path: Path) -> Recipe:
    """Read a recipe that may be anyone's; raises `RunFolderError` for one that is no recipe.

    It is data: its names are looked up among the plugins that are loaded already, and it names no
    file, since the weights are the one file beside it.
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
        tuple(tree["mean"]), tuple(tree["std"]),
    )  # fmt: skip


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
