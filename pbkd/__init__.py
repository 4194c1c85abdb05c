"""pbkd compresses trained CNNs by parallel blockwise knowledge distillation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pbkd._version import __version__ as __version__

if TYPE_CHECKING:
    from pbkd.api import compress, load
    from pbkd.config.schema import RunConfig
    from pbkd.core.blocks import Block, BlockCost
    from pbkd.core.results import BlockResult, RunResult
    from pbkd.core.schedule import Job, Schedule, Worker
    from pbkd.hookspecs import hookimpl
    from pbkd.models.layers import dense_convolutions
    from pbkd.protocols import EnergyReading, Loss, ZooModel

__all__ = [
    "Block",
    "BlockCost",
    "BlockResult",
    "EnergyReading",
    "Job",
    "Loss",
    "RunConfig",
    "RunResult",
    "Schedule",
    "Worker",
    "ZooModel",
    "compress",
    "dense_convolutions",
    "hookimpl",
    "load",
]

_HOMES = {
    "Block": "core.blocks",
    "BlockCost": "core.blocks",
    "BlockResult": "core.results",
    "EnergyReading": "protocols",
    "Job": "core.schedule",
    "Loss": "protocols",
    "RunConfig": "config.schema",
    "RunResult": "core.results",
    "Schedule": "core.schedule",
    "Worker": "core.schedule",
    "ZooModel": "protocols",
    "compress": "api",
    "dense_convolutions": "models.layers",
    "hookimpl": "hookspecs",
    "load": "api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the command line starts without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pbkd' has no attribute '{name}'")
    return getattr(import_module(f"pbkd.{_HOMES[name]}"), name)
