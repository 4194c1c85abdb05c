"""Modules worth importing before worker processes are forked."""

from __future__ import annotations

import sys

__all__ = ["modules_to_preload"]

# An optimiser of a plugin may import torch._dynamo.
_SLOW_IMPORTS = ("torch._dynamo", "torchvision", "timm", "sklearn.datasets")


def modules_to_preload() -> list[str]:
    """Return the modules that a process should import before it is forked into workers.

    They start no threads and use no device. Beside modules of pbkd these are slow imports
    that this process has already needed for teacher and data.
    """
    ours = ["pbkd.execution.fork_server", "pbkd.execution.worker"]
    return [*ours, *(name for name in _SLOW_IMPORTS if name in sys.modules)]
