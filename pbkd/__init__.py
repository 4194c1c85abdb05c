"""pbkd compresses trained CNNs by parallel blockwise knowledge distillation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbkd.api import compress
    from pbkd.config import RunConfig
    from pbkd.dense import dense_convolutions
    from pbkd.hookspecs import hookimpl
    from pbkd.plan import Block, BlockCost, Job, Schedule, Worker
    from pbkd.protocols import EnergyReading, Loss
    from pbkd.result import BlockResult, RunResult
    from pbkd.student import load
    from pbkd.zoo import ZooModel

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

__version__ = "0.1.0"

_HOMES = {
    "Block": "plan",
    "BlockCost": "plan",
    "BlockResult": "result",
    "EnergyReading": "protocols",
    "Job": "plan",
    "Loss": "protocols",
    "RunConfig": "config",
    "RunResult": "result",
    "Schedule": "plan",
    "Worker": "plan",
    "ZooModel": "zoo",
    "compress": "api",
    "dense_convolutions": "dense",
    "hookimpl": "hookspecs",
    "load": "student",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the command line starts without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pbkd' has no attribute '{name}'")
    return getattr(import_module(f"pbkd.{_HOMES[name]}"), name)
