"""A student's files: its weights, and the recipe that rebuilds its architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pbkd.core.files import read_json, write_json
from pbkd.data.preparation_file import preparation_from_tree, preparation_tree
from pbkd.errors import RunFolderError
from pbkd.models.weights import write_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn

    from pbkd.data.normalization import Normalization
    from pbkd.data.preparation import Preparation


__all__ = [
    "NETWORK",
    "RECIPE",
    "WEIGHTS",
    "Recipe",
    "read_recipe",
    "student_folder",
    "write_student",
]

RECIPE, WEIGHTS, NETWORK = "config.json", "model.safetensors", "network.json"
_FORMAT = 3


@dataclass(frozen=True)
class Recipe:
    """How to rebuild a student's architecture, and how to use it.

    Attributes:
        teacher: The configuration's `teacher`, without its weights.
        partitioner: The partitioner and its options.
        replaced: The builder and its options of each replaced block.
        preparation: How a picture becomes the student's input.
        class_names: The name of every class; None if they are unknown.
    """

    teacher: dict[str, Any]
    partitioner: dict[str, Any]
    replaced: dict[str, dict[str, Any]]
    preparation: Preparation
    class_names: tuple[str, ...] | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape of one image, (C, H, W)."""
        return self.preparation.image_shape

    @property
    def normalization(self) -> Normalization | None:
        """How the student's images are normalised; None if that is unknown."""
        return self.preparation.normalization


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from an untrusted file.

    A recipe is data: its names are looked up among the plugins that are loaded already, and it
    names no file, because the weights are the one file beside it.

    Raises:
        RunFolderError: If it is not a valid recipe.
    """
    tree = read_json(path)
    if not isinstance(tree, dict) or tree.get("format") != _FORMAT:
        raise RunFolderError(f"'{path}' is not a recipe of this version of pbkd.")
    for key in ("teacher", "partitioner"):
        _check_choice(tree.get(key), f"'{key}' of '{path}'")
    replaced, names = tree.get("replaced"), tree.get("class_names")
    if not isinstance(replaced, dict):
        raise RunFolderError(f"'replaced' of '{path}' does not say which blocks are, and by what.")
    for name, builder in replaced.items():
        _check_choice(builder, f"the builder of '{name}' in '{path}'")
    if names is not None and not _are_names(names):
        raise RunFolderError(f"'class_names' of '{path}' is no list of names.")
    return Recipe(
        teacher=tree["teacher"],
        partitioner=tree["partitioner"],
        replaced=replaced,
        preparation=preparation_from_tree(tree.get("preparation"), f"'preparation' of '{path}'"),
        class_names=None if names is None else tuple(names),
    )


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
        "format": _FORMAT,
        "teacher": recipe.teacher,
        "partitioner": recipe.partitioner,
        "plugins": list(plugins),
        "preparation": preparation_tree(recipe.preparation),
        "class_names": recipe.class_names,
        "replaced": recipe.replaced,
    }
    write_weights(folder / WEIGHTS, student.state_dict())
    write_json(folder / RECIPE, tree)


def _are_names(names: Any) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _check_choice(choice: Any, where: str) -> None:
    if not isinstance(choice, dict) or not isinstance(choice.get("name"), str):
        raise RunFolderError(f"{where} is no choice: a name with its options.")
    if "weights" in choice:
        raise RunFolderError(f"{where} names a file of weights, which no recipe may.")
    if choice.get("pretrained") not in (None, True, False):
        raise RunFolderError(f"{where} has a 'pretrained' that is not true or false.")


def student_folder(folder: Path) -> Path:
    """Return the folder with a student's files: `folder` itself, or `student` in a run folder."""
    return folder if (folder / RECIPE).is_file() else folder / "student"
