"""Energy meters and accounting. These names are the interface for meter plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pbkd.core.process import cpu_seconds
    from pbkd.energy.monitor import monitor_energy

__all__ = [
    "cpu_seconds",
    "monitor_energy",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "cpu_seconds": "pbkd.core.process",
        "monitor_energy": "pbkd.energy.monitor",
    },
)
