"""What a run asks of a launcher that brings its own workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbkd.training.task import DistillationTask


__all__ = ["WorkerRequest"]


@dataclass(frozen=True, kw_only=True)
class WorkerRequest:
    """The workers that a run asks for; it can be pickled.

    Attributes:
        load_task: Loads teacher and data on a device, to be timed there.
        workers: A number, or `auto`.
        threads: CPU threads of each worker; None for an equal share of the cores.
        device: `auto`, `cpu`, `cuda` or `mps`.
    """

    load_task: Callable[[str], DistillationTask]
    workers: int | str = 1
    threads: int | None = None
    device: str = "auto"
