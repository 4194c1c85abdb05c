"""The run folder: where everything about a run is written, each file whole or not at all."""

from __future__ import annotations

from typing import Any

__all__ = ["Event"]

Event = dict[str, Any]
