"""A student beside its teacher and ready networks of its size, timed in turn on one device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pbkd.config.options import option_types
from pbkd.core.devices import pick_device
from pbkd.core.process import thread_count
from pbkd.errors import RunFolderError
from pbkd.execution.workers import local_workers
from pbkd.models.chain import freeze
from pbkd.models.latency import latencies
from pbkd.models.metrics import macs, parameters
from pbkd.models.teacher import build_network, find_model
from pbkd.pipeline.load import reload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from pbkd.core.results import Latency
    from pbkd.models.student_files import Recipe
    from pbkd.plugin.registry import Registry


__all__ = ["Contender", "contenders", "nearest_ready", "timed"]

READY = (
    "mobilenetv3_small_050", "mobilenetv3_small_075", "mobilenetv3_small_100", "mobilenetv2_050",
    "mobilenetv2_100", "mobilenetv3_large_100", "efficientnet_lite0", "efficientnet_b0",
    "regnetx_002", "regnety_004", "resnet10t", "resnet14t", "resnet18", "resnet26", "resnet34",
)  # fmt: skip
"""Networks of timm, with trained weights there, that somebody might take instead of a student."""


@dataclass(frozen=True)
class Contender:
    """A network to time, on the CPU; its size; the shape of an image."""

    network: nn.Module
    parameters: int
    macs: int
    image_shape: tuple[int, int, int]


def contenders(run: Path, against: Sequence[str] | None) -> dict[str, Contender]:
    """Return teacher, student, and the networks `against` it by name, ready to be timed.

    With None, a student whose teacher is timm's gets the nearest of `READY`. Only the student has
    trained weights: what a network takes does not depend on them.
    """
    found = reload(run)
    shape, named = found.recipe.image_shape, against
    if named is None:
        timm = found.recipe.teacher["name"].startswith("timm:")
        named = [nearest_ready(found.registry, parameters(found.student))] if timm else []
    for reserved in {"teacher", "student"} & set(named):
        raise RunFolderError(f"'{reserved}' is timed anyway: name a network of the zoo.")
    built = {
        "teacher": found.teacher,
        "student": found.student,
        **{name: _like(found.registry, name, found.recipe) for name in named},
    }
    return {
        name: Contender(
            freeze(network).to(memory_format=torch.channels_last),
            parameters(network),
            macs(network, shape),
            shape,
        )
        for name, network in built.items()
    }


def nearest_ready(registry: Registry, count: int) -> str:
    """Return the name of the `READY` network that is nearest to so many parameters."""

    def distance(name: str) -> int:
        with torch.device("meta"):
            return abs(parameters(build_network(registry, {"name": f"timm:{name}"})) - count)

    return f"timm:{min(READY, key=distance)}"


def _like(registry: Registry, name: str, recipe: Recipe) -> nn.Module:
    """Build a network with as many classes as the teacher was built with, where it can be."""
    model, _ = find_model(registry, name)
    classes = recipe.teacher.get("num_classes")
    known = "num_classes" in option_types(model.build) and classes is not None
    return build_network(registry, {"name": name, **({"num_classes": classes} if known else {})})


def timed(
    networks: Mapping[str, Contender], batch: int, threads: int | None, repeats: int
) -> dict[str, Latency]:
    """Time a forward pass of `batch` images through each network, in turn."""
    device = pick_device("auto")
    worker = local_workers(1, threads, device)[0]
    shape = next(iter(networks.values())).image_shape
    images = torch.rand(batch, *shape).to(worker.device, memory_format=torch.channels_last)
    on_device = {name: one.network.to(worker.device) for name, one in networks.items()}
    with thread_count(worker.threads):
        return latencies(on_device, images, repeats)
