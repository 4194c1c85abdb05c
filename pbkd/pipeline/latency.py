"""Latency of a student beside its teacher and other networks of its size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pbkd.config.options import option_types
from pbkd.core.devices import pick_device
from pbkd.core.process import thread_count
from pbkd.errors import ConfigError, RunFolderError
from pbkd.execution.workers import local_workers
from pbkd.models.chain import freeze
from pbkd.models.engines import latencies_in, reads
from pbkd.models.metrics import macs, parameters
from pbkd.models.teacher import build_network, find_model
from pbkd.pipeline.load import reload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from pbkd.core.results import Latency
    from pbkd.core.schedule import Worker
    from pbkd.models.student_files import Recipe
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Engine


__all__ = ["Contender", "contenders", "files_by_engine", "nearest_ready", "place_of", "timed"]

READY = (
    "mobilenetv3_small_050", "mobilenetv3_small_075", "mobilenetv3_small_100", "mobilenetv2_050",
    "mobilenetv2_100", "mobilenetv3_large_100", "efficientnet_lite0", "efficientnet_b0",
    "regnetx_002", "regnety_004", "resnet10t", "resnet14t", "resnet18", "resnet26", "resnet34",
)  # fmt: skip
"""Small networks of timm with trained weights: alternatives to a student."""


@dataclass(frozen=True)
class Contender:
    """A network to time.

    Attributes:
        network: The network, on the CPU.
        parameters: Its parameters.
        macs: Its multiply-accumulates per image.
        image_shape: The shape of an image, (C, H, W).
    """

    network: nn.Module
    parameters: int
    macs: int
    image_shape: tuple[int, int, int]


def contenders(
    run: Path, against: Sequence[str] | None, trust: Sequence[Path] = ()
) -> dict[str, Contender]:
    """Prepare the networks to time: teacher, student and others.

    Only the student has trained weights: latency does not depend on them.

    Args:
        run: The folder of a finished run.
        against: Names of further networks; None for the one of `READY` that is nearest to a student
            whose teacher is timm's.
        trust: Files and folders whose code runs, see `open_run`.

    Returns:
        The networks by name, `teacher` and `student` first.

    Raises:
        RunFolderError: If a name is `teacher` or `student`, or the run has no student.
    """
    loaded = reload(run, trust)
    registry, recipe = loaded.registry, loaded.recipe
    registry.functions.update(against or ())
    names = against
    if names is None:
        from_timm = recipe.teacher["name"].startswith("timm:")
        names = [nearest_ready(registry, parameters(loaded.student))] if from_timm else []
    for reserved in {"teacher", "student"} & set(names):
        raise RunFolderError(f"'{reserved}' is timed anyway: name a network of the zoo.")
    networks = {
        "teacher": loaded.teacher,
        "student": loaded.student,
        **{name: _with_same_classes(registry, name, recipe) for name in names},
    }
    return {
        name: Contender(
            freeze(network).to(memory_format=torch.channels_last),
            parameters(network),
            macs(network, recipe.image_shape),
            recipe.image_shape,
        )
        for name, network in networks.items()
    }


def nearest_ready(registry: Registry, count: int) -> str:
    """Return the name of the `READY` network whose number of parameters is nearest to `count`."""

    def distance(name: str) -> int:
        with torch.device("meta"):
            return abs(parameters(build_network(registry, {"name": f"timm:{name}"})) - count)

    return f"timm:{min(READY, key=distance)}"


def _with_same_classes(registry: Registry, name: str, recipe: Recipe) -> nn.Module:
    """Build a network with the teacher's number of classes, if it has that option."""
    model, _ = find_model(registry, name)
    classes = recipe.teacher.get("num_classes")
    known = "num_classes" in option_types(model.build) and classes is not None
    return build_network(registry, {"name": name, **({"num_classes": classes} if known else {})})


def place_of(device: str, threads: int | None) -> Worker:
    """Return this machine's first device of a type, with CPU threads.

    Args:
        device: `auto`, or as torch names it.
        threads: CPU threads; None for all cores.

    Raises:
        ConfigError: This machine does not have the device.
    """
    return local_workers(1, threads, pick_device(device))[0]


def files_by_engine(
    engines: Sequence[Engine], files: Sequence[Path], device: str
) -> dict[str, dict[str, Path]]:
    """Assign files to the engines that execute them.

    Returns:
        Files by name, by the engine's name.

    Raises:
        ConfigError: No engine executes one of the files, or the device is not the CPU.
    """
    if files and device != "cpu":
        raise ConfigError(
            f"'{files[0]}' was exported for the CPU, but the device is {device}: add --device cpu."
        )
    for path in files:
        if not any(reads(engine, path) for engine in engines):
            names = ", ".join(engine.name for engine in engines)
            raise ConfigError(
                f"'{path}' is not executed by {names}: name an engine that can by --engine."
            )
    return {
        engine.name: {path.name: path for path in files if reads(engine, path)}
        for engine in engines
    }


def timed(
    networks: Mapping[str, Contender],
    engine: Engine,
    files: Mapping[str, Path],
    place: Worker,
    batch: int,
    repeats: int,
) -> dict[str, Latency]:
    """Time a forward pass through each network, in turn, on a device of this machine.

    Args:
        networks: The networks by name.
        engine: What executes them.
        files: Exported networks by name, which the engine executes, too.
        place: The device and the CPU threads.
        batch: Images per pass.
        repeats: Timed passes per network.

    Returns:
        The latencies by name.

    Raises:
        PbkdError: The engine is not installed, or cannot execute a network or file.
    """
    shape = next(iter(networks.values())).image_shape
    images = torch.rand(batch, *shape).to(place.device, memory_format=torch.channels_last)
    on_device = {name: contender.network.to(place.device) for name, contender in networks.items()}
    with thread_count(place.threads):
        return latencies_in(engine, on_device, images, files, repeats)
