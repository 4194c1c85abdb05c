"""Networks in the engine in which their latency counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pbkd.errors import PLUGIN_FAILURES, ConfigError, PbkdError, PluginError, first_line
from pbkd.models.evaluation_mode import evaluation_mode
from pbkd.models.latency import latencies
from pbkd.plugin.attribution import describe_failure, describe_strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from pbkd.core.results import Latency
    from pbkd.protocols import Engine


__all__ = ["file_in_engine", "in_engine", "latencies_in", "reads"]


def in_engine(engine: Engine, network: nn.Module, images: Tensor) -> Callable[[Tensor], Tensor]:
    """Prepare a network in an engine, with the CPU threads that torch has.

    Args:
        engine: The engine.
        network: The network.
        images: A batch, (B, C, H, W), on its device.

    Returns:
        What passes such a batch through the network.

    Raises:
        ConfigError: The engine does not execute networks on this device.
        PbkdError: The engine is not installed, or cannot execute the network.
    """
    devices = getattr(engine, "devices", None)
    if devices and images.device.type not in devices:
        raise ConfigError(
            f"the engine {engine.name} executes networks on {' or '.join(devices)}, not on"
            f" {images.device}: set the device to {devices[0]}, or choose the engine torch."
        )
    try:
        with evaluation_mode(network):
            run = engine.prepare(network, images, torch.get_num_threads())
    except PbkdError:
        raise
    except PLUGIN_FAILURES as error:
        failure = describe_failure("engine", engine, "prepare", error)
        raise PluginError(f"{failure}: choose another engine.") from error
    if not callable(run):
        raise PluginError(
            f"{describe_strategy('engine', engine)} returns {type(run).__name__} from prepare:"
            " return a function of a batch."
        )
    return run


def reads(engine: Engine, path: Path) -> bool:
    """Return whether an engine executes files with the suffix of this one."""
    return path.suffix in getattr(engine, "suffixes", ())


def file_in_engine(engine: Engine, path: Path, images: Tensor) -> Callable[[Tensor], Tensor]:
    """Open a file that an exporter wrote in an engine, with the CPU threads that torch has.

    Args:
        engine: An engine that `reads` the file.
        path: The file.
        images: A batch, (B, C, H, W), on the CPU.

    Returns:
        What passes such a batch through the file's network.

    Raises:
        PbkdError: The engine is not installed.
        ConfigError: The engine cannot execute the file, or its network takes other images.
    """
    if not path.is_file():
        raise ConfigError(f"there is no file '{path}': name one that `pbkd export` wrote.")
    held = images.contiguous()
    try:
        run = engine.read(path, torch.get_num_threads())  # type: ignore[attr-defined]
        with torch.no_grad():
            run(held)
    except PbkdError:
        raise
    except PLUGIN_FAILURES as error:
        shape = tuple(images.shape)
        raise ConfigError(
            f"{engine.name} cannot execute '{path}' for images of the shape {shape}"
            f" ({type(error).__name__}: {first_line(error)}): name an export of this student."
        ) from error
    return lambda batch: run(held if batch is images else batch)


def latencies_in(
    engine: Engine,
    networks: Mapping[str, nn.Module],
    images: Tensor,
    files: Mapping[str, Path] | None = None,
    repeats: int | None = None,
) -> dict[str, Latency]:
    """Time a forward pass through each of several networks in an engine, as `latencies` does.

    Args:
        engine: The engine.
        networks: The networks by name, on the device of `images`.
        images: One batch, (B, C, H, W).
        files: Files of networks by name, which take turns with the others.
        repeats: As in `latencies`.

    Raises:
        PbkdError: As `in_engine` and `file_in_engine`.
    """
    prepared = {name: in_engine(engine, network, images) for name, network in networks.items()}
    for name, path in (files or {}).items():
        prepared[name] = file_in_engine(engine, path, images)
    timed = latencies(prepared, images, repeats)
    return {name: replace(latency, engine=engine.name) for name, latency in timed.items()}
