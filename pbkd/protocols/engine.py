"""Engines: what executes a finished network where its latency counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn


__all__ = ["Engine"]


class Engine(Protocol):
    """Executes a finished network, so that its latency can be measured.

    Selected by `target.engine=NAME` and `pbkd latency --engine NAME`.

    An engine that executes files, too, has a class attribute `suffixes`, a tuple such as
    `(".onnx",)`, and a method `read(path, threads)`, which opens a file of an exporter and returns
    a function of a batch (B, C, H, W) on the CPU, as `prepare` does, for batches of any size.

    An engine for some devices only has a class attribute `devices`, a tuple of torch's names for
    their kinds such as `("cpu",)`: it is asked for no others.
    """

    name: ClassVar[str]

    def prepare(
        self, network: nn.Module, images: Tensor, threads: int
    ) -> Callable[[Tensor], Tensor]:
        """Prepare a network for batches of a size, as a program that serves it would.

        Called for the teacher and for each student that is considered, in planning and when the
        candidates are scored, and for the finished student; by `pbkd latency` for each network.
        What it returns is timed.

        Args:
            network: The network, in evaluation mode and without gradients; it must stay unchanged.
            images: A batch, (B, C, H, W), on the network's device.
            threads: The CPU threads that the engine may use.

        Returns:
            A function that passes such a batch through the network and returns the logits, on the
            CPU or on the network's device.

        Raises:
            ConfigError: The engine is not installed, or cannot execute the network.
        """
        ...
