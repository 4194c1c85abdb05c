"""From trained replacements to a student: score, accept or keep, assemble, recalibrate, load."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pbkd.chain import blocks_of, freeze
from pbkd.data import batches, in_order
from pbkd.entries import student_home
from pbkd.errors import RunFolderError
from pbkd.journal import write_json
from pbkd.loss import soft_target_loss
from pbkd.options import chosen
from pbkd.plan import candidate_of
from pbkd.prepare import cut, pick_partitioner
from pbkd.recipe import Recipe, read_recipe
from pbkd.registry import build_registry
from pbkd.replacement import build_replacement
from pbkd.weights import fit_weights, read_weights, write_weights
from pbkd.zoo import build_network, is_own

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pbkd.config import RunConfig
    from pbkd.data import Split
    from pbkd.prepare import Prepared

__all__ = [
    "SoloScore",
    "architecture",
    "assemble",
    "load",
    "recalibrate",
    "save",
    "solo_scores",
]


@dataclass(frozen=True)
class SoloScore:
    """What a candidate does to the teacher's answers on a split.

    `drop` is the accuracy lost, a share (0.01 is one point), negative where the teacher gains;
    `divergence` the mean Kullback-Leibler divergence from the teacher's answers, in nats.
    """

    drop: float
    divergence: float


@torch.no_grad()
def solo_scores(
    prepared: Prepared, replacements: Mapping[str, nn.Module], split: Split
) -> dict[str, SoloScore]:
    """Return what each candidate does when it alone is swapped into the teacher.

    Only what follows the block is run again.
    """
    for replacement in replacements.values():
        replacement.eval()
    correct = dict.fromkeys(("", *replacements), 0)
    divergence = dict.fromkeys(("", *replacements), 0.0)
    for images, labels in in_order(split, prepared.images.shape[0] * 4):
        x = prepared.normalised(images)
        swapped = {}
        for position, (block, segment) in enumerate(prepared.folded.named_children()):
            for name, replacement in replacements.items():
                if candidate_of(name)[0] == block:
                    swapped[name] = prepared.folded[position + 1 :](replacement(x))
            x = segment(x)
        answers = labels.to(prepared.device)
        for name, logits in {"": x, **swapped}.items():
            correct[name] += int((logits.argmax(1) == answers).sum())
            divergence[name] += len(labels) * float(soft_target_loss(logits, x, 1.0))
    rows = len(split)
    return {
        name: SoloScore((correct[""] - correct[name]) / rows, divergence[name] / rows)
        for name in replacements
    }


def assemble(chain: nn.Sequential, replacements: Mapping[str, nn.Module]) -> nn.Sequential:
    """Return the student: copies of the chain's segments and of the replacements for them."""
    student = nn.Sequential()
    for name, segment in chain.named_children():
        student.add_module(name, copy.deepcopy(replacements.get(name, segment)))
    return student.requires_grad_(True).to(memory_format=torch.channels_last).eval()


@torch.no_grad()
def recalibrate(student: nn.Module, prepared: Prepared, count: int, batch_size: int) -> None:
    """Estimate every BatchNorm's statistics anew, in place, as the mean over `count` batches."""
    norms = [m for m in student.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    student.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    seen = 0
    epoch = 0
    while seen < count:
        for images, _ in batches(
            prepared.data.train,
            batch_size,
            seed=0,
            epoch=epoch,
            augmentation=prepared.data.augment,
            phase="recalibrate",
        ):
            student(prepared.normalised(images))
            seen += 1
            if seen == count:
                break
        epoch += 1
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    student.eval()


def save(
    folder: Path,
    student: nn.Module,
    config: RunConfig,
    prepared: Prepared,
    replaced: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write the student's weights and the recipe that rebuilds its architecture.

    `replaced` has the builder's choice for each block that is. The two files are named as the
    Hugging Face hub names those of a model.
    """
    teacher = {key: value for key, value in config.teacher.items() if key != "weights"}
    recipe = {
        "library_name": "pbkd",
        "format": 2,
        "teacher": teacher,
        "partitioner": {**config.partitioner, "name": prepared.partitioner},
        "plugins": config.plugins,
        "image_shape": prepared.data.image_shape,
        "mean": prepared.teacher.mean,
        "std": prepared.teacher.std,
        "replaced": {name: dict(builder) for name, builder in replaced.items()},
    }
    write_weights(folder / "student" / "model.safetensors", student.state_dict())
    write_json(folder / "student" / "config.json", recipe)


def load(
    folder: str | Path, *, plugins: Sequence[str] = (), make: Callable[[], nn.Module] | None = None
) -> nn.Sequential:
    """Return a student, in evaluation mode, on the CPU.

    `folder` is a finished run's, or one with a student's own files (`config.json` and
    `model.safetensors`, as on the Hugging Face hub), or the name of a student in a zoo folder.
    It takes images normalised as its teacher's are. Neither the teacher's weights nor pickle is
    needed; names in the recipe resolve among the installed plugins and those given here, and
    no other code is run. So the student of a network of your own needs `make`, the function that
    makes that network. Raises `RunFolderError`, `WeightsError` or `UnknownNameError`.
    """
    home = student_home(folder)
    student = architecture(read_recipe(home / "config.json"), plugins, make)
    path = home / "model.safetensors"
    weights = read_weights(path)
    fit_weights(student, weights, path)
    freeze(student)
    return student.to(memory_format=torch.channels_last)


def architecture(
    recipe: Recipe, plugins: Sequence[str], make: Callable[[], nn.Module] | None = None
) -> nn.Sequential:
    """Build the student of a recipe, in evaluation mode, without any trained weights."""
    registry = build_registry(plugins)
    name = recipe.teacher["name"]
    if make is None and is_own(registry, name):
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
        builder = chosen(registry, "builder", recipe.replaced[block.name])
        replacements[block.name] = build_replacement(builder, chain[block.position], block, seed=0)
    return assemble(chain, {name: r for name, r in replacements.items() if r is not None})
