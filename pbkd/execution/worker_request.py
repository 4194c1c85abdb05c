"""What a run asks of a launcher that brings its own workers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WorkerRequest"]


@dataclass(frozen=True, kw_only=True)
class WorkerRequest:
    """The workers that a run asks for: plain data, which can be sent to another machine.

    Attributes:
        configuration: The run's configuration, as YAML; a worker loads teacher and data by it.
        workers: A number, or `auto`.
        threads: CPU threads of each worker; None for an equal share of the cores.
        device: `auto`, `cpu`, `cuda` or `mps`.
    """

    configuration: str
    workers: int | str = 1
    threads: int | None = None
    device: str = "auto"
