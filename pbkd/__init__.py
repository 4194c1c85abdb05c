"""pbkd compresses trained CNNs by parallel blockwise knowledge distillation."""

from __future__ import annotations

from pbkd._version import __version__ as __version__
from pbkd.core.lazy import lazy_exports

TYPE_CHECKING = False  # `typing` would take longer to import than all the rest
if TYPE_CHECKING:
    from pbkd.api import compress, load, transform
    from pbkd.config.schema import RunConfig
    from pbkd.core.blocks import Block, BlockCost
    from pbkd.core.results import BlockResult, RunResult
    from pbkd.core.schedule import Job, Schedule, Worker
    from pbkd.core.workload import Workload
    from pbkd.hookspecs import hookimpl
    from pbkd.models.layers import dense_convolutions, layer_inputs, moment_roots
    from pbkd.models.replacement import ask_builder
    from pbkd.protocols import Built, EnergyReading, LossContext, RunInfo, ZooModel

__all__ = [
    "Block",
    "BlockCost",
    "BlockResult",
    "Built",
    "EnergyReading",
    "Job",
    "LossContext",
    "RunConfig",
    "RunInfo",
    "RunResult",
    "Schedule",
    "Worker",
    "Workload",
    "ZooModel",
    "ask_builder",
    "compress",
    "dense_convolutions",
    "hookimpl",
    "layer_inputs",
    "load",
    "moment_roots",
    "transform",
]

_MODULES = {
    "Block": "core.blocks",
    "BlockCost": "core.blocks",
    "BlockResult": "core.results",
    "Built": "protocols",
    "EnergyReading": "protocols",
    "Job": "core.schedule",
    "LossContext": "protocols",
    "RunConfig": "config.schema",
    "RunInfo": "protocols",
    "RunResult": "core.results",
    "Schedule": "core.schedule",
    "Worker": "core.schedule",
    "Workload": "core.workload",
    "ZooModel": "protocols",
    "ask_builder": "models.replacement",
    "compress": "api",
    "dense_convolutions": "models.layers",
    "hookimpl": "hookspecs",
    "layer_inputs": "models.layers",
    "load": "api",
    "moment_roots": "models.layers",
    "transform": "api",
}


# Public names are imported when first used, so that the command line starts without torch.
__getattr__ = lazy_exports(__name__, {name: f"pbkd.{module}" for name, module in _MODULES.items()})
