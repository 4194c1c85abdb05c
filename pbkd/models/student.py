"""From trained replacements to a student: score, accept or keep, assemble, recalibrate, load."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pbkd.core.files import read_json
from pbkd.data.normalization import Normalization
from pbkd.errors import RunFolderError
from pbkd.models.chain import blocks_of, freeze
from pbkd.models.partition import cut, pick_partitioner
from pbkd.models.replacement import build_replacement
from pbkd.models.teacher import build_network
from pbkd.models.user_module import is_user_function
from pbkd.plugin.registry import build_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


__all__ = [
    "RECIPE",
    "WEIGHTS",
    "Recipe",
    "architecture",
    "assemble",
    "read_recipe",
    "student_folder",
]


def assemble(chain: nn.Sequential, replacements: Mapping[str, nn.Module]) -> nn.Sequential:
    """Return the student: copies of the chain's segments and of the replacements for them."""
    student = nn.Sequential()
    for name, segment in chain.named_children():
        student.add_module(name, copy.deepcopy(replacements.get(name, segment)))
    return student.requires_grad_(True).to(memory_format=torch.channels_last).eval()


def architecture(
    recipe: Recipe, plugins: Sequence[str], make: Callable[[], nn.Module] | None = None
) -> nn.Sequential:
    """Build the student of a recipe, in evaluation mode, without any trained weights."""
    registry = build_registry(plugins)
    name = recipe.teacher["name"]
    if make is None and is_user_function(registry, name):
        raise RunFolderError(
            f"the student was made from the network '{name}', whose code is not run unasked: give"
            " the function that makes it, as in pbkd.load(FOLDER, make=FUNCTION)."
        )
    with torch.random.fork_rng(devices=[]):
        network = freeze(make() if make else build_network(registry, recipe.teacher))
    image = torch.zeros(1, *recipe.image_shape)
    chain = cut(pick_partitioner(registry, recipe.partitioner, network), network, image)
    replacements = {}
    for block in blocks_of(chain, image, recipe.replaced):
        builder = registry.create("builder", recipe.replaced[block.name])
        replacements[block.name] = build_replacement(builder, chain[block.position], block, seed=0)
    return assemble(chain, {name: r for name, r in replacements.items() if r is not None})


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
        Normalization(tuple(tree["mean"]), tuple(tree["std"])),
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


def student_folder(folder: Path) -> Path:
    """Return the folder of a student's files: a run's own one, or the one given."""
    return folder if (folder / RECIPE).is_file() else folder / "student"
