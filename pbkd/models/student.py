"""The student: assembled from a chain and replacements, or rebuilt from its recipe."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

from pbkd.core.blocks import candidate_of
from pbkd.core.torch_modes import kept_modes
from pbkd.errors import RunFolderError
from pbkd.models.adopt import adopt
from pbkd.models.chain import describe_blocks
from pbkd.models.forward_pass import settle
from pbkd.models.partition import cut, pick_partitioner
from pbkd.models.rebuilding import rebuild
from pbkd.models.teacher import build_network
from pbkd.plugin.registry import build_registry
from pbkd.plugin.user_code import is_user_function

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pbkd.models.student_files import Recipe


__all__ = ["architecture", "assemble"]


def assemble(chain: nn.Sequential, replacements: Mapping[str, nn.Module]) -> nn.Sequential:
    """Assemble a student from copies of the chain's segments and of their replacements.

    Args:
        chain: The teacher's chain.
        replacements: Replacements by the name of their candidate or block.

    Returns:
        The student, channels-last, in evaluation mode and with gradients.
    """
    by_block = {candidate_of(name)[0]: module for name, module in replacements.items()}
    student = nn.Sequential()
    for name, segment in chain.named_children():
        student.add_module(name, copy.deepcopy(by_block.get(name, segment)))
    return student.requires_grad_(True).to(memory_format=torch.channels_last).eval()


def architecture(
    recipe: Recipe, plugins: Sequence[str], make: Callable[[], nn.Module] | None = None
) -> nn.Sequential:
    """Build a student's network without trained weights.

    Args:
        recipe: The choices that the student was made by.
        plugins: Plugins beside the installed ones.
        make: Builds the teacher's network, if that is the user's own.

    Returns:
        The network, in evaluation mode.

    Raises:
        RunFolderError: If the network is the user's own and `make` is missing.
        UnknownNameError: If a name in the recipe is not registered.
        PluginError: If a builder fails, or no longer replaces a block.
    """
    registry = build_registry(plugins)
    name = recipe.teacher["name"]
    if make is None and is_user_function(registry, name):
        raise RunFolderError(
            f"the student was made from the network '{name}', whose code is not run unasked: give"
            " the function that makes it, as in pbkd.load(FOLDER, make=FUNCTION) or"
            " pbkd export FOLDER --make MODULE:FUNCTION."
        )
    with torch.random.fork_rng(devices=[]):
        with kept_modes():
            given = make() if make else build_network(registry, recipe.teacher)
        network = adopt(given).network
    image = torch.zeros(1, *recipe.image_shape)
    # Whether outputs are probabilities is not to be guessed from untrained weights.
    choice = {"probabilities": False, **recipe.teacher}
    settle(network, image.expand(2, -1, -1, -1), None, choice)
    chain = cut(pick_partitioner(registry, recipe.partitioner, network), network, image)
    replacements = {}
    for block in describe_blocks(chain, image, recipe.replaced):
        builder = registry.create("builder", recipe.replaced[block.name])
        replacements[block.name] = rebuild(builder, chain[block.position], block, seed=0)
    return assemble(chain, replacements)
