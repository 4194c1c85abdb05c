"""Teachers, chains, students. These names are the interface for partitioner plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pbkd.models.traced_network import TracedNetwork

__all__ = [
    "TracedNetwork",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "TracedNetwork": "pbkd.models.traced_network",
    },
)
